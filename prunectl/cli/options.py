"""The options that several commands share, and how their texts are read."""

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunectl.checkpoints.files import check_target
from prunectl.checkpoints.names import SIDECARS, SUFFIXES, base_name, checkpoint_file, mask_path
from prunectl.cli import output
from prunectl.cli.config import configure
from prunectl.cli.waiting import line_of
from prunectl.errors import OptionError
from prunectl.plugins.registry import names

if TYPE_CHECKING:
    from prunectl.data.images import ImageData
    from prunectl.data.source import NetworkInput


def completes(kind: str) -> Callable[[str], list[str]]:
    """Shell completion of the names of a kind, without importing what they name."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names(kind) if name.startswith(incomplete)]

    return complete


CheckpointArgument = Annotated[
    str | None,
    typer.Argument(metavar="CHECKPOINT", help="A NAME.safetensors, or - for the path on stdin (also when piped into)."),
]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Where to write  [default: CHECKPOINT with this command in its name]"),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an output that exists.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Seed = Annotated[int, typer.Option(help="Of every random draw.", min=0, max=2**32 - 1)]
BatchSize = Annotated[int, typer.Option("-b", "--batch-size", help="Images per batch.", min=1)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the record as JSON in place of the path.")]
PluginOptions = Annotated[
    list[str] | None, typer.Option("-O", metavar="KEY=VALUE", help="An option of the plug-in; may be repeated.")
]
Model = Annotated[
    str | None,
    typer.Option(help="Start from a fresh network of this name.", autocompletion=completes("model")),
]
ModelOptions = Annotated[
    list[str] | None,
    typer.Option("-M", metavar="KEY=VALUE", help="An option of the network, such as stem=cifar; may be repeated."),
]
Pretrained = Annotated[
    bool,
    typer.Option(
        "--pretrained",
        help="Begin with the weights that the library of --model publishes; layers for other classes are fresh.",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="Images: a name, imagefolder:PATH or own.py:function  [default: the checkpoint's, else digits]",
        autocompletion=completes("data"),
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where datasets lie  [default: $PRUNECTL_DATA_DIR, else the user's cache folder]"),
]
ImageSize = Annotated[int | None, typer.Option(help="Resize images to this height and width.", min=1)]
Download = Annotated[bool, typer.Option("--download", help="Download the dataset if it is missing.")]
Tuning = Annotated[
    bool,
    typer.Option("--tuning", help="Hold out 20 % of the training images to evaluate on; leave the test set alone."),
]
Subset = Annotated[int | None, typer.Option(metavar="N", help="Train on N images drawn at random.")]
RandomLabels = Annotated[bool, typer.Option("--random-labels", help="Shuffle the training labels (Zhang et al. 2017).")]
Scope = Annotated[
    str | None,
    typer.Option(
        help="Rank all layers together (global), each alone (layer), by erk or lamp, nodes in sets of isomorphic "
        "groups (isomorphic), weights by output or by a pattern such as 2:4  [default: the criterion's]",
        show_default=False,
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        help="one-shot, snipit, exponential or cubic  [default: the criterion's]",
        show_default=False,
        autocompletion=completes("schedule"),
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        "--rounds",
        help="Rounds of an iterative schedule; snipit takes two more, it is s of the paper  [default: the criterion's]",
        show_default=False,
        min=1,
    ),
]
Threshold = Annotated[
    float | None, typer.Option(help="Prune what scores no more than this, in place of a sparsity.", show_default=False)
]
Unit = Annotated[
    str | None,
    typer.Option(
        help="nodes: use a criterion of weights for nodes, by the sum over a node's filters.",
        show_default=False,
    ),
]
MinNodes = Annotated[int, typer.Option(help="Nodes that stay on every axis, at least.", min=1)]
MultipleOf = Annotated[int, typer.Option(help="Keep a multiple of this many nodes in every group.", min=1)]
Normalize = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Divide scores of nodes by their group's mean, max or l2 norm, take their standard score in it "
        "(gaussian), divide by the FLOPs that a node saves (flops), or none  [default: the criterion's]",
        show_default=False,
    ),
]
MaxPruned = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="The largest share of a group of nodes that may go  [default: 0.9, more where the target needs it]",
        show_default=False,
    ),
]
OuterLayers = Annotated[
    bool, typer.Option("--outer-layers", help="Let channels of the image go as well, as nodes of their own.")
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="A layer that stays as it is, by the name of a module or parameter, such as head or 'layer4.*'; may be "
        "repeated.",
        show_default=False,
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run the code that the files of this command name, as PRUNECTL_TRUST=1 does.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Options from a TOML file, in a table named as the command.",
        callback=configure,
        is_eager=True,
    ),
]


def filled(record: type, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parsed parameters of a command that are fields of a dataclass."""
    return {each.name: parameters[each.name] for each in fields(record) if each.name in parameters}


def given(ctx: typer.Context, names: Collection[str]) -> str | None:
    """The first of these parameters that stands on the command line, as its longest flag, or None."""
    for param in ctx.command.params:
        source = ctx.get_parameter_source(str(param.name))
        if param.name in names and source is not None and source.name == "COMMANDLINE":
            negated = ctx.params.get(str(param.name)) is False and param.secondary_opts
            return str(max(negated or param.opts, key=len))
    return None


def checkpoint_path(argument: str | None) -> Path:
    """The checkpoint that a command was given: a path, or the first line of stdin; of a folder, the file in it.

    Raises:
        OptionError: none was given, or stdin was empty.
    """
    if argument == "":
        raise OptionError("CHECKPOINT is empty; give a NAME.safetensors, or pipe a path in")
    if argument not in (None, "-"):
        return checkpoint_file(Path(str(argument)))
    if argument is None and sys.stdin.isatty():
        raise OptionError("no CHECKPOINT: give a NAME.safetensors, or pipe a path in")
    try:
        line = line_of(sys.stdin).strip()
    except UnicodeDecodeError:
        line = "\0"
    if "\0" in line:
        raise OptionError("stdin holds bytes, not the path of a checkpoint; give the path as CHECKPOINT instead")
    if not line:
        raise OptionError("nothing on stdin: did the step before fail? (set -o pipefail)")
    return checkpoint_file(Path(line))


def open_data(
    spec: str,
    data_dir: Path | None,
    *,
    image_size: int | None = None,
    download: bool = False,
    tuning: bool = False,
    subset: int | None = None,
    random_labels: bool = False,
    seed: int = 0,
    split: float | None = None,
    network: "NetworkInput | None" = None,
) -> "ImageData":
    """Load a dataset and change it as the options say; what of it is not used goes to stderr."""
    from prunectl.cli.output import decoding
    from prunectl.data.load import load_data

    with decoding(spec) as progress:
        data = load_data(
            spec,
            data_dir,
            image_size=image_size,
            download=download,
            progress=progress,
            split=split,
            network=network,
        )
    for notice in data.notices:
        output.say(f"warning: {notice}")
    if tuning:
        data = data.tuning()
    if subset is not None:
        data = data.subset(subset, seed)
    return data.random_labels(seed) if random_labels else data


def target(output: Path | None, source: Path, command: str, *, force: bool) -> Path:
    """Where a command writes: what the user says, else `x.safetensors` -> `x.COMMAND.safetensors`; checked now."""
    path = output or source.with_name(f"{base_name(source)}.{command}.safetensors")
    check_target(path, force=force)
    if not path.name.endswith(SUFFIXES):
        raise OptionError(f"an output's name ends in .safetensors or .st, got {path}")
    if base_name(path).endswith(SIDECARS):
        raise OptionError(f"{path} is the name of a file beside a checkpoint; choose another output with -o")
    check_target(mask_path(path), force=force)
    return path


def fresh_name(model: str, data: str) -> Path:
    """The name that the files of a fresh network begin with, as a checkpoint in the current folder."""
    stem = Path(model.rpartition(":")[2] or model).name
    return Path(f"{stem}-{data.partition(':')[0]}.safetensors")
