"""Options that several commands share, and functions that read them."""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunectl.checkpoints.files import check_target
from prunectl.checkpoints.header import settle
from prunectl.checkpoints.names import SIDECARS, SUFFIXES, base_name, check_not_torch, checkpoint_file, mask_path
from prunectl.cli import output
from prunectl.cli.completion import completes, completes_one, completes_options
from prunectl.cli.config import configure
from prunectl.cli.heartbeat import waiting
from prunectl.cli.torchrun import ahead, from_first
from prunectl.cli.waiting import line_of
from prunectl.errors import FileError, OptionError

if TYPE_CHECKING:
    from prunectl.data.images import ImageData
    from prunectl.data.source import NetworkInput


CheckpointArgument = Annotated[
    str | None,
    typer.Argument(metavar="CHECKPOINT", help="NAME.safetensors, or - to read its path from stdin (as in a pipe)."),
]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="File to write  [default: beside CHECKPOINT, with this command in its name]"),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Device = Annotated[
    str,
    typer.Option(
        help="auto (a GPU if there is one), cpu, cuda or mps.",
        autocompletion=completes_one("auto", "cpu", "cuda", "mps"),
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.", min=0, max=2**32 - 1)]
BatchSize = Annotated[int, typer.Option("-b", "--batch-size", help="Images per batch.", min=1)]
Amp = Annotated[bool, typer.Option("--amp", help="Compute in bfloat16 where that is safe.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the record as JSON, not the path.")]
PluginOptions = Annotated[
    list[str] | None,
    typer.Option(
        "-O",
        metavar="KEY=VALUE",
        help="Option of the criterion, listed by `prunectl criteria NAME`; repeatable.",
        autocompletion=completes_options("criterion", "criterion", "snipit"),
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "--arch",
        help="Start from a new network: a name (list: `prunectl models`), torchvision/NAME, timm/NAME or net.py:build.",
        autocompletion=completes("model"),
    ),
]
ModelOptions = Annotated[
    list[str] | None,
    typer.Option(
        "-M",
        metavar="KEY=VALUE",
        help="Option of the network, such as stem=cifar, listed by `prunectl models NAME`; repeatable.",
        autocompletion=completes_options("model", "model"),
    ),
]
Pretrained = Annotated[
    bool,
    typer.Option(
        "--pretrained",
        help="Start from the weights that the library of --model publishes; with other classes, the head is new.",
    ),
]


def _data(what: str, default: str) -> Any:
    return typer.Option(
        "--data",
        "--dataset",
        help=f"{what}: a name (list: `prunectl datasets`), imagefolder:PATH or own.py:function  [default: {default}]",
        autocompletion=completes("data"),
    )


Data = Annotated[str | None, _data("Images", "the checkpoint's")]
FreshData = Annotated[str | None, _data("Images", "the checkpoint's; with --model, digits")]
CalibrationData = Annotated[str | None, _data("Images for --int8", "the checkpoint's")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder of all datasets  [default: $PRUNECTL_DATA_DIR, else the user's cache folder]"),
]
ImageSize = Annotated[int | None, typer.Option(help="Resize images to this height and width.", min=1)]
Download = Annotated[bool, typer.Option("--download", help="Download the dataset if it is missing.")]
Tuning = Annotated[
    bool,
    typer.Option("--tuning", help="Hold out 20 % of the training images and evaluate on these, not on the test set."),
]
Withheld = Annotated[
    bool, typer.Option("--tuning", help="Leave out the 20 % of the training images that `train --tuning` holds out.")
]
Subset = Annotated[int | None, typer.Option(metavar="N", help="Use only N random training images.")]
RandomLabels = Annotated[bool, typer.Option("--random-labels", help="Shuffle the training labels (Zhang et al. 2017).")]
Scope = Annotated[
    str | None,
    typer.Option(
        help="What is ranked together: global (all layers), layer (each alone), erk (densities by layer size), "
        "lamp (LAMP scores of all layers), isomorphic (isomorphic groups of nodes), output (weights of each output) or "
        "a pattern such as 2:4  [default: the criterion's]",
        show_default=False,
        autocompletion=completes_one("global", "layer", "erk", "lamp", "isomorphic", "output", "2:4", "4:8"),
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        help="How the sparsity rises over the rounds: one-shot, snipit, exponential, cubic or FILE.py:NAME  "
        "[default: the criterion's]",
        show_default=False,
        autocompletion=completes("schedule"),
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        "--rounds",
        help="Number of pruning rounds (the paper's s; snipit runs s + 2)  [default: the criterion's]",
        show_default=False,
        min=1,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(help="Prune everything that scores at most this, instead of to a sparsity.", show_default=False),
]
Unit = Annotated[
    str | None,
    typer.Option(
        help="nodes: let a weight criterion prune nodes, by summing its scores over each node's weights.",
        show_default=False,
        autocompletion=completes_one("nodes"),
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run the code that the input files name (as PRUNECTL_TRUST=1 does).")
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Read options from this command's table, such as [train], in a TOML file.",
        callback=configure,
        is_eager=True,
    ),
]


def filled(record: type, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parsed parameters of a command that are fields of a dataclass."""
    return {each.name: parameters[each.name] for each in fields(record) if each.name in parameters}


def flag_of(spellings: Sequence[str]) -> str:
    """The first long spelling of an option, else its first one."""
    return next((each for each in spellings if each.startswith("--")), spellings[0])


def given(ctx: typer.Context, names: Collection[str]) -> str | None:
    """The flag of the first of these parameters on the command line, or None."""
    for param in ctx.command.params:
        source = ctx.get_parameter_source(str(param.name))
        if param.name in names and source is not None and source.name == "COMMANDLINE":
            negated = ctx.params.get(str(param.name)) is False and param.secondary_opts
            return flag_of(negated or param.opts)
    return None


def checkpoint_path(argument: str | None, *, or_model: bool = False) -> Path:
    """The checkpoint of a command line: a path, or the first line of stdin; for a folder, the file in it.

    `or_model` says that the command also takes --model.

    Raises:
        OptionError: there is none, or stdin is empty.
    """
    forms = (
        "NAME.safetensors, a path on stdin, or a new network with --model"
        if or_model
        else "NAME.safetensors, or a path on stdin"
    )
    if argument == "":
        raise OptionError(f"CHECKPOINT is empty; expected {forms}")
    if argument not in (None, "-"):
        return _own_file(Path(str(argument)))
    if argument is None and sys.stdin.isatty():
        raise OptionError(f"no CHECKPOINT; expected {forms}")
    line = from_first(_line_of_stdin)
    if "\0" in line:
        raise OptionError("stdin holds bytes, expected the path of a checkpoint; pass the path as CHECKPOINT instead")
    if not line:
        raise OptionError(
            f"stdin is empty: the previous command failed (set -o pipefail), or CHECKPOINT is missing; expected {forms}"
        )
    return _own_file(Path(line))


def _own_file(path: Path) -> Path:
    """The file of a checkpoint; PyTorch weights and a missing file are refused before PyTorch is loaded."""
    check_not_torch(path)
    file = checkpoint_file(path)
    try:
        file.stat()
    except FileNotFoundError as error:
        raise FileError(f"cannot read {file}: no such file or directory; check the path") from error
    except OSError:  # the next reader reports it
        pass
    return file


def _line_of_stdin() -> str:
    """The first line, once it arrives; a zero byte if it is not text."""
    try:
        with waiting():
            return line_of(sys.stdin).strip()
    except UnicodeDecodeError:
        return "\0"


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
    """Load a dataset and apply the options; notices about unused parts go to stderr."""
    from prunectl.cli.progress import decoding
    from prunectl.data.load import load_data

    with ahead(), decoding(spec) as progress:
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
        output.warn(notice)
    if tuning:
        data = data.tuning()
    if subset is not None:
        data = data.subset(subset, seed)
    return data.random_labels(seed) if random_labels else data


def named(output: Path | None, source: Path, command: str) -> Path:
    """The output that the user names, else `x.safetensors` -> `x.COMMAND.safetensors`."""
    return output or source.with_name(f"{base_name(source)}.{command}.safetensors")


def target(output: Path | None, source: Path, command: str, *, force: bool) -> Path:
    """The output of a command: the user's, else `x.safetensors` -> `x.COMMAND.safetensors`; it is checked at once."""
    path = named(output, source, command)
    if not force and path.is_file():
        settle(path)
    check_target(path, force=force)
    if not path.name.endswith(SUFFIXES):
        raise OptionError(f"the name of an output must end in .safetensors or .st, got {path}")
    if base_name(path).endswith(SIDECARS):
        raise OptionError(f"{path} is reserved for a file beside a checkpoint; choose another output with -o")
    check_target(mask_path(path), force=force)
    return path


def fresh_name(model: str, data: str) -> Path:
    """The checkpoint in the current folder whose name begins the names of a fresh network's files."""
    stem = Path(model.rpartition(":")[2] or model).name
    return Path(f"{stem}-{Path(data.partition(':')[0]).name}.safetensors")
