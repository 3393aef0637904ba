"""The options that several commands share, and how their texts are read."""

import os
import sys
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunectl.checkpoints.files import append_record, check_target, json_line
from prunectl.checkpoints.header import SIDECARS, SUFFIXES, base_name, beside, mask_path
from prunectl.cli import output
from prunectl.errors import FileError, OptionError
from prunectl.plugins.registry import names

if TYPE_CHECKING:
    from prunectl.data.images import ImageData


def completes(kind: str) -> Callable[[str], list[str]]:
    """Shell completion of the names of a kind, without importing what they name."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names(kind) if name.startswith(incomplete)]

    return complete


def _configure(ctx: typer.Context, path: Path | None) -> Path | None:
    """Below the command line: PRUNECTL_LR=0.1 in the environment, then the command's table in a TOML file."""
    settable = (param for param in ctx.command.params if param.opts[0].startswith("-") and param.name != "config")
    known = {_key(max(param.opts, key=len)): param for param in settable}
    values = {} if path is None else _table(ctx, path, set(known))
    for key in known:
        text = os.environ.get(f"PRUNECTL_{key.upper()}")
        if text is not None:
            values[key] = text
    for key, value in values.items():
        if getattr(known[key], "multiple", False) and isinstance(value, str):
            values[key] = value.split()
    ctx.default_map = {str(known[key].name): value for key, value in values.items()}
    return path


def _key(option: str) -> str:
    """How an option is called in a file, and in capitals in the environment: --batch-size is batch_size, -O is O."""
    return option.lstrip("-").replace("-", "_")


def _table(ctx: typer.Context, path: Path, known: set[str]) -> dict[str, Any]:
    """The options of the running command in a TOML file."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot read --config {path}: {error}") from error
    command = str(ctx.info_name)
    commands = getattr(ctx.parent.command, "commands", {}) if ctx.parent is not None else {}
    for table, values in tables.items():
        if not isinstance(values, dict) or table not in commands:
            raise OptionError(f"--config {path}: '{table}' is no command; put options in a table such as [{command}]")
    values = {_key(key): value for key, value in tables.get(command, {}).items()}
    unknown = sorted(set(values) - known)
    if unknown:
        raise OptionError(f"--config {path}: [{command}] has no option '{unknown[0]}'; see prunectl {command} --help")
    return values


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
Data = Annotated[
    str | None,
    typer.Option(
        help="Images: a name, or imagefolder:PATH  [default: the checkpoint's, else digits]",
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
        help="Rank all layers together (global), each alone (layer), or for weights erk, lamp or a pattern "
        "such as 2:4  [default: the criterion's]",
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
OuterLayers = Annotated[
    bool, typer.Option("--outer-layers", help="Let channels of the image go as well, as nodes of their own.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Options from a TOML file, in a table named as the command.",
        callback=_configure,
        is_eager=True,
    ),
]


def given(ctx: typer.Context, names: Collection[str]) -> str | None:
    """The first of these parameters that stands on the command line, as its longest flag, or None."""
    for param in ctx.command.params:
        source = ctx.get_parameter_source(str(param.name))
        if param.name in names and source is not None and source.name == "COMMANDLINE":
            negated = ctx.params.get(str(param.name)) is False and param.secondary_opts
            return str(max(negated or param.opts, key=len))
    return None


def checkpoint_path(argument: str | None) -> Path:
    """The checkpoint that a command was given: a path, or the first line of stdin.

    Raises:
        OptionError: none was given, or stdin was empty.
    """
    if argument == "":
        raise OptionError("CHECKPOINT is empty; give a NAME.safetensors, or pipe a path in")
    if argument not in (None, "-"):
        return Path(str(argument))
    if argument is None and sys.stdin.isatty():
        raise OptionError("no CHECKPOINT: give a NAME.safetensors, or pipe a path in")
    try:
        line = sys.stdin.readline().strip()
    except UnicodeDecodeError:
        line = "\0"
    if "\0" in line:
        raise OptionError("stdin holds bytes, not the path of a checkpoint; give the path as CHECKPOINT instead")
    if not line:
        raise OptionError("nothing on stdin: did the step before fail? (set -o pipefail)")
    return Path(line)


def pairs(texts: list[str] | None, flag: str) -> dict[str, str]:
    """Read `KEY=VALUE` texts.

    Raises:
        OptionError: a text without '='.
    """
    found = {}
    for text in texts or []:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise OptionError(f"{flag} takes KEY=VALUE, got '{text}'")
        found[key] = value
    return found


def fraction(text: str, flag: str) -> float:
    """Read `8/255` or a number.

    Raises:
        OptionError: it is neither.
    """
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise OptionError(f"{flag} takes numbers like 8/255 or 0.03, got '{text}'") from None


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
) -> "ImageData":
    """Load a dataset and change it as the options say."""
    from prunectl.cli.output import decoding
    from prunectl.data.load import load_data

    with decoding(spec) as progress:
        data = load_data(spec, data_dir, image_size=image_size, download=download, progress=progress)
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


def results_of(checkpoint: Path) -> Path | None:
    """Where a command notes what it measures; None, which is said, where nothing can be written."""
    path = beside(checkpoint, ".results.jsonl")
    try:
        check_target(path, force=True, otherwise="what is measured is not noted there")
    except FileError as error:
        output.say(f"warning: {error}")
        return None
    return path


def note(path: Path | None, command: str, sha256: str | None, record: dict[str, Any]) -> str:
    """Append what a command measured to its results file, if it has one, and return the line."""
    from datetime import UTC, datetime

    now = datetime.now(UTC).isoformat(timespec="seconds")
    noted = {"command": command, "checkpoint": sha256, "time": now, **record}
    return json_line(noted) if path is None else append_record(path, noted)
