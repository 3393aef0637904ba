"""prunectl attack."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunectl.cli import image_options, options, output, precision, progress, texts
from prunectl.cli.completion import completes_list, completes_one, completes_options, names_of
from prunectl.cli.results import hand_over, results_of
from prunectl.errors import OptionError
from prunectl.plugins.registry import PRESETS, check, check_options

if TYPE_CHECKING:
    from prunectl.checkpoints.checkpoint import Checkpoint
    from prunectl.data.images import ImageData


ATTACKING = {
    "attack",
    "eps",
    "norm",
    "plugin_options",
    "target",
    "reference",
    "transfer_from",
    "save_examples",
    "resume",
    "force",
}
"""Options that are only for attacks, not for corruptions."""


def command(
    ctx: typer.Context,
    checkpoint: options.CheckpointArgument = None,
    attack: Annotated[
        str,
        typer.Option(
            "-a",
            "--attack",
            metavar="NAME[,NAME...]",
            help="Attacks (list: `prunectl attacks`), foolbox classes, or one preset: quick or standard.",
            autocompletion=completes_list(lambda: names_of("attack")),
        ),
    ] = "pgd",
    eps: Annotated[
        str | None,
        typer.Option(
            metavar="EPS[,EPS...]",
            help="Sizes of the perturbation, for pixels in [0, 1], such as 4/255,8/255  [default: usual ones of "
            "the norm]",
            show_default=False,
        ),
    ] = None,
    norm: Annotated[
        str | None,
        typer.Option(
            help="Norm of the perturbation: linf, l2, l1 or l0  [default: the attack's]",
            show_default=False,
            autocompletion=completes_one("linf", "l2", "l1", "l0"),
        ),
    ] = None,
    plugin_options: Annotated[
        list[str] | None,
        typer.Option(
            "-O",
            metavar="KEY=VALUE",
            help="Option of the attacks that have it, listed by `prunectl attacks NAME`; repeatable.",
            autocompletion=completes_options("attack", "attack", "pgd"),
        ),
    ] = None,
    n: Annotated[
        str, typer.Option("-n", "--n", metavar="N", help="Attack only N test images, spread evenly over the set.")
    ] = "all",
    target: Annotated[
        str | None,
        typer.Option(metavar="next|random|CLASS", help="Target class: the next one, a random one, or CLASS."),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Compare predictions with this checkpoint, such as the dense network.")
    ] = None,
    transfer_from: Annotated[
        Path | None, typer.Option(help="Make the adversarial images on this checkpoint (a transfer attack).")
    ] = None,
    corruptions: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[,NAME...]",
            help="Instead of attacks: gaussian-noise, blur, brightness, contrast, jpeg, or all, at severities 1 to 5.",
            autocompletion=completes_list(lambda: ("all", "gaussian-noise", "blur", "brightness", "contrast", "jpeg")),
        ),
    ] = None,
    save_examples: Annotated[
        int,
        typer.Option(
            metavar="N", help="Save N misclassified images at the largest eps, as PNG and safetensors.", min=0
        ),
    ] = 0,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    download: options.Download = False,
    tuning: options.Tuning = False,
    split: image_options.Split = None,
    batch_size: options.BatchSize = 256,
    amp: options.Amp = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted attack.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace existing examples or an interrupted attack.")] = False,
    as_json: options.AsJson = False,
    trust: options.Trust = False,
    config: options.Config = None,
) -> None:
    """Attack the test images and measure the robust accuracy at every eps.

    In a list, every attack tries every image. In a preset, each attack tries only images that survived earlier ones.
    The record is appended to NAME.results.jsonl beside the checkpoint, whose path is printed. After Ctrl-C, the same
    command with --resume continues.
    """
    _refuse_beside_corruptions(ctx, corruptions)
    attack = ",".join(name.strip() for name in attack.split(","))
    if not all(attack.split(",")):
        raise OptionError(f"-a takes a name, or several separated by commas, got '{attack}'")
    for name in attack.split(","):
        if name.islower() and name not in PRESETS:  # other names are looked up in foolbox
            check("attack", name)
    chosen = texts.pairs(plugin_options, "-O")
    check_options(attack, chosen)
    count = _count(n)
    sizes = None if eps is None else [texts.fraction(text, "--eps") for text in eps.split(",")]
    source = options.checkpoint_path(checkpoint)

    from prunectl.checkpoints.checkpoint import read
    from prunectl.cli.start import images_for
    from prunectl.torchtools.devices import device_named

    where = device_named(device)
    network, results = read(source, where), results_of(source)
    precision.warn_of_amp(where, asked=amp)
    images = images_for(network, data, data_dir, image_size=image_size, download=download, tuning=tuning, split=split)
    if corruptions is not None:
        record = _corrupt(network, images, corruptions, n=count, batch_size=batch_size, amp=amp, seed=seed)
        hand_over(results, "attack", source, network.sha256, record, as_json=as_json)
    else:
        how = {
            "attack": attack,
            "eps": sizes,
            "norm": norm,
            "options": chosen,
            "target": target,
            "reference": None if reference is None else read(reference, where),
            "source": None if transfer_from is None else read(transfer_from, where),
            "n": count,
            "batch_size": batch_size,
            "amp": amp,
            "seed": seed,
            "examples": save_examples,
        }
        from prunectl.cli import attack_run

        place = source if results else None
        with attack_run.attacked(network, images, place, how, resume=resume, force=force) as record:
            hand_over(results, "attack", source, network.sha256, record, as_json=as_json, resumed=resume)


def _refuse_beside_corruptions(ctx: typer.Context, corruptions: str | None) -> None:
    """Refuse options of attacks if nothing is attacked."""
    flag = options.given(ctx, ATTACKING) if corruptions is not None else None
    if flag is not None:
        raise OptionError(f"{flag} is for attacks and cannot be combined with --corruptions")


def _corrupt(network: "Checkpoint", images: "ImageData", names: str, **how: Any) -> dict[str, Any]:
    """Measure on corrupted images, and print the result."""
    from prunectl.robustness.corrupt import SEVERITIES, corrupt

    named = dict.fromkeys(name.strip() for name in names.split(","))
    chosen = tuple(SEVERITIES) if "all" in named else tuple(named)
    with progress.progress_bar("corruptions", 5 * len(chosen)) as bar:
        record = corrupt(
            network,
            images,
            corruptions=chosen,
            report=lambda done, total: bar.update(done, lambda: f"{done}/{total} settings"),
            **how,
        )
    for warning in record.get("warnings", ()):
        output.warn(warning)
    output.say(f"clean accuracy {output.percent(record['clean_accuracy'])} on {output.many(record['images'], 'image')}")
    rows = [
        [name, *(output.percent(one["accuracy"]) for one in record["corruptions"] if one["corruption"] == name)]
        for name in chosen
    ]
    output.table(["severity", *map(str, range(1, 6))], rows)
    return record


def _count(text: str) -> int | None:
    """Read a number of images, or `all`."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise OptionError(f"-n takes a number of images or all, got '{text}'")
    return int(text)
