"""prunectl repair."""

from pathlib import Path
from typing import Annotated

import typer

from prunectl.checkpoints.options.repair import CALIBRATIONS, METHODS
from prunectl.cli import image_options, kept, options, output, precision, progress
from prunectl.cli.completion import completes_one
from prunectl.errors import OptionError


def command(
    ctx: typer.Context,
    checkpoint: options.CheckpointArgument = None,
    method: Annotated[
        str,
        typer.Option(
            help="refit (kept weights by least squares), scale (variances of channels) or bn (only BatchNorm "
            "statistics).",
            autocompletion=completes_one(*METHODS),
        ),
    ] = "refit",
    n: Annotated[int, typer.Option("-n", "--n", metavar="N", help="Number of training images to use.", min=10)] = 1024,
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="DENSE", help="The network before pruning  [default: found by its hash]", show_default=False
        ),
    ] = None,
    calibration: Annotated[
        str,
        typer.Option(
            help="data (training images) or noise (no images needed).", autocompletion=completes_one(*CALIBRATIONS)
        ),
    ] = "data",
    data: options.Data = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    download: options.Download = False,
    tuning: options.Withheld = False,
    split: image_options.Split = None,
    amp: options.Amp = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    output_path: options.Output = None,
    force: options.Force = False,
    trust: options.Trust = False,
    config: options.Config = None,
) -> None:
    """Recover accuracy lost by pruning, without training: fit the kept weights to the dense network.

    The masks do not change. The dense network is the checkpoint that was pruned, found beside this one or in the
    current folder. Training images are used without their labels.
    """
    from prunectl.checkpoints.options.repair import RepairOptions
    from prunectl.checkpoints.reference import reference_of

    chosen = RepairOptions(**options.filled(RepairOptions, ctx.params))
    if calibration == "noise" and data is not None:
        raise OptionError("--calibration noise uses no images; leave out --data")
    source = options.checkpoint_path(checkpoint)
    path = options.target(output_path, source, "repair", force=force)
    compared = None if method == "bn" else reference or reference_of(source)

    from prunectl.checkpoints.checkpoint import read, write
    from prunectl.cli.start import images_for
    from prunectl.measuring.memory import peak_memory
    from prunectl.pruning.repair.repair import repair
    from prunectl.torchtools.devices import device_named

    pruned = read(source, device_named(device))
    precision.warn_of_amp(pruned.device, asked=amp)
    images = None
    if calibration == "data":
        images = images_for(
            pruned, data, data_dir, image_size=image_size, download=download, tuning=tuning, split=split
        )
    dense = None if compared is None else read(compared, pruned.device)
    with progress.progress_bar(method, 100) as bar:

        def report(i: int, stops: int, name: str) -> None:
            bar.begin("repair", stops)
            bar.update(i, lambda: f"step {i + 1} of {stops}, {name}")

        repaired, peak = peak_memory(
            pruned.device, lambda: repair(pruned, images, chosen, reference=dense, report=report, in_place=True)
        )
    kept.written(path, lambda place: write(repaired, place, force=force))
    for line in output.repaired(repaired.history[-1].result):
        output.say(line)
    output.say(f"        peak memory {output.counted(peak)}B")
    output.emit(path)
