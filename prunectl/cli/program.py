"""The program: its options, and how a failure ends; `app` adds the commands."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from prunectl.cli.process import prepare
from prunectl.errors import PrunectlError
from prunectl.version import __version__

app = typer.Typer(
    help="Prune PyTorch image classifiers: smaller, proved to compute the same, measured.",
    epilog="Commands pass a checkpoint's path along a pipe: prunectl train | prunectl eval | prunectl report",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"prunectl {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line, the program's own by default; a failure to act on is one line on stderr and an exit code."""
    prepare()
    # torch looks for a CUDA toolkit when it times or compiles, and warns of one without a gpu
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115  (None where the shell closed it: <&-)
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115  (print() would take stdout instead)
    try:
        app(arguments, prog_name="prunectl")
    except PrunectlError as error:
        print(f"prunectl: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except (RuntimeError, MemoryError) as error:
        where = _full(error)
        if where is None:
            raise
        print(f"prunectl: {where}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _full(error: Exception) -> str | None:
    """What to say when memory is full, None of any other error."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's own, named without importing torch
        return "out of memory on the device; take a smaller -b, or --device cpu"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "out of memory; take a smaller -b, --subset or --image-size"
    return None
