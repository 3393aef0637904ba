"""prunectl attack."""

from typing import Annotated

import typer

from prunectl.cli import options, output
from prunectl.cli.options import completes
from prunectl.errors import OptionError
from prunectl.header import beside
from prunectl.registry import check


def command(
    checkpoint: options.CheckpointArgument = None,
    attack: Annotated[
        str, typer.Option("-a", "--attack", help="The attack.", autocompletion=completes("attack"))
    ] = "pgd",
    eps: Annotated[
        str, typer.Option(metavar="EPS[,EPS...]", help="Sizes of the perturbation, for images in [0, 1].")
    ] = "1/255,2/255,4/255,8/255",
    plugin_options: options.PluginOptions = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Attack N test images only, spread evenly over the set.", min=1)
    ] = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    download: options.Download = False,
    tuning: options.Tuning = False,
    batch_size: options.BatchSize = 256,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
    config: options.Config = None,
) -> None:
    """Attack the test images and measure robust accuracy at every eps.

    The record is appended to NAME.results.jsonl beside the checkpoint, and its path passed on.
    """
    check("attack", attack)
    levels = [_fraction(text) for text in eps.split(",")]
    source = options.checkpoint_path(checkpoint)

    from prunectl.attack import attack as run
    from prunectl.checkpoint import device_named, read
    from prunectl.cli.start import images_for
    from prunectl.files import check_target

    network, results = read(source, device_named(device)), beside(source, ".results.jsonl")
    check_target(results, force=True)
    images = images_for(network, data, data_dir, image_size=image_size, download=download, tuning=tuning)
    with output.progress_bar(attack, min(n or len(images.test), len(images.test))) as bar:
        record = run(
            network,
            images,
            attack=attack,
            eps=levels,
            options=options.pairs(plugin_options, "-O"),
            n=n,
            batch_size=batch_size,
            seed=seed,
            report=lambda done, total, robust: bar.update(
                done, lambda: "robust " + " ".join(output.percent(share) for share in robust)
            ),
        )
    line = options.note(results, "attack", network.sha256, record)
    output.say(f"{attack}: clean accuracy {output.percent(record['clean_accuracy'])} on {record['images']:,} images")
    for result in record["results"]:
        output.say(f"      eps {result['eps']:.4f}: robust accuracy {output.percent(result['robust_accuracy'])}")
    output.emit(line if as_json else source)


def _fraction(text: str) -> float:
    """Read `8/255` or a number."""
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise OptionError(f"--eps takes numbers like 8/255 or 0.03, got '{text}'") from None
