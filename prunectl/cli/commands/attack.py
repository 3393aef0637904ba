"""prunectl attack."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunectl.cli import image_options, options, output, texts
from prunectl.cli.options import completes
from prunectl.cli.results import hand_over, results_of
from prunectl.errors import OptionError
from prunectl.plugins.registry import PRESETS, check

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
"""Options of attacks, which mean nothing for corruptions."""


def command(
    ctx: typer.Context,
    checkpoint: options.CheckpointArgument = None,
    attack: Annotated[
        str,
        typer.Option(
            "-a",
            "--attack",
            metavar="NAME[,NAME...]",
            help="Attacks, by name or foolbox class; or one preset in cascade: quick or standard.",
            autocompletion=completes("attack"),
        ),
    ] = "pgd",
    eps: Annotated[
        str | None,
        typer.Option(
            metavar="EPS[,EPS...]",
            help="Sizes of the perturbation; pixels are in [0, 1]  [default: those of norm and images]",
            show_default=False,
        ),
    ] = None,
    norm: Annotated[
        str | None, typer.Option(help="linf, l2, l1 or l0  [default: the attack's]", show_default=False)
    ] = None,
    plugin_options: Annotated[
        list[str] | None,
        typer.Option("-O", metavar="KEY=VALUE", help="An option of those attacks that have it; may be repeated."),
    ] = None,
    n: Annotated[
        str, typer.Option("-n", "--n", metavar="N", help="Attack N test images only, spread evenly over the set.")
    ] = "all",
    target: Annotated[
        str | None, typer.Option(metavar="next|random|CLASS", help="Aim at the next class, random ones or this one.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Compare predictions with this checkpoint, such as the unpruned parent.")
    ] = None,
    transfer_from: Annotated[
        Path | None, typer.Option(help="Make the adversarials on this checkpoint, and try them here.")
    ] = None,
    corruptions: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[,NAME...]",
            help="In place of attacks: gaussian-noise, blur, brightness, contrast, jpeg, or all, at severities 1 to 5.",
        ),
    ] = None,
    save_examples: Annotated[
        int, typer.Option(metavar="N", help="Keep N images turned at the largest eps: a PNG, and safetensors.", min=0)
    ] = 0,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    download: options.Download = False,
    tuning: options.Tuning = False,
    split: image_options.Split = None,
    batch_size: options.BatchSize = 256,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted attack.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace examples, or an interrupted attack, that exist.")
    ] = False,
    as_json: options.AsJson = False,
    trust: options.Trust = False,
    config: options.Config = None,
) -> None:
    """Attack the test images and measure robust accuracy at every eps.

    Several attacks each try every image; those of a preset go on with what still stands. The record is appended to
    NAME.results.jsonl beside the checkpoint, and its path passed on. Ctrl-C keeps what is done, for --resume.
    """
    _refuse_beside_corruptions(ctx, corruptions)
    attack = ",".join(name.strip() for name in attack.split(","))
    if not all(attack.split(",")):
        raise OptionError(f"-a takes a name, or several with commas between them, got '{attack}'")
    for name in attack.split(","):
        if name.islower() and name not in PRESETS:  # a class of foolbox is looked up there
            check("attack", name)
    count = _count(n)
    sizes = None if eps is None else [texts.fraction(text, "--eps") for text in eps.split(",")]
    source = options.checkpoint_path(checkpoint)

    from prunectl.checkpoints.checkpoint import read
    from prunectl.cli.start import images_for
    from prunectl.torchtools.devices import device_named

    where = device_named(device)
    network, results = read(source, where), results_of(source)
    images = images_for(network, data, data_dir, image_size=image_size, download=download, tuning=tuning, split=split)
    if corruptions is not None:
        record = _corrupt(network, images, corruptions, n=count, batch_size=batch_size, seed=seed)
        hand_over(results, "attack", source, network.sha256, record, as_json=as_json)
    else:
        how = {
            "attack": attack,
            "eps": sizes,
            "norm": norm,
            "options": texts.pairs(plugin_options, "-O"),
            "target": target,
            "reference": None if reference is None else read(reference, where),
            "source": None if transfer_from is None else read(transfer_from, where),
            "n": count,
            "batch_size": batch_size,
            "seed": seed,
            "examples": save_examples,
        }
        from prunectl.cli import attack_run

        place = source if results else None
        with attack_run.attacked(network, images, place, how, resume=resume, force=force) as record:
            hand_over(results, "attack", source, network.sha256, record, as_json=as_json)


def _refuse_beside_corruptions(ctx: typer.Context, corruptions: str | None) -> None:
    """Refuse options of attacks where nothing is attacked."""
    flag = options.given(ctx, ATTACKING) if corruptions is not None else None
    if flag is not None:
        raise OptionError(f"--corruptions attacks nothing; leave out {flag}")


def _corrupt(network: "Checkpoint", images: "ImageData", names: str, **how: Any) -> dict[str, Any]:
    """Measure on corrupted images, and show it."""
    from prunectl.robustness.corrupt import SEVERITIES, corrupt

    named = dict.fromkeys(name.strip() for name in names.split(","))
    chosen = tuple(SEVERITIES) if "all" in named else tuple(named)
    with output.progress_bar("corruptions", 5 * len(chosen)) as bar:
        record = corrupt(
            network,
            images,
            corruptions=chosen,
            report=lambda done, total: bar.update(done, lambda: f"{done}/{total} settings"),
            **how,
        )
    output.say(f"clean accuracy {output.percent(record['clean_accuracy'])} on {record['images']:,} images")
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
