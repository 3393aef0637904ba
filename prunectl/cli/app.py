"""The command `prunectl`: its options, and its handling of failures; `loading` has its commands."""

import contextlib
import errno
import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from prunectl.checkpoints.escapes import visible
from prunectl.cli.help.program import Program, asks_for_help, help_of
from prunectl.cli.process import prepare
from prunectl.cli.terminal import guard, wrapped
from prunectl.cli.torchrun import following
from prunectl.errors import LOST_WORKER, PrunectlError, cut
from prunectl.version import __version__

_OF_PATHS = (errno.ENAMETOOLONG, errno.EACCES)
"""What a question about a path from the command line or a file may end with, wherever it is asked."""

app = typer.Typer(
    cls=Program,
    help="Prune PyTorch image classifiers, prove that the smaller network computes the same, and measure it.",
    epilog="Every command that makes or measures a network prints the path of its checkpoint, so commands work in a "
    "pipe: prunectl train | prunectl eval | prunectl report",
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
    """Run a command line, by default the program's own; expected failures become one line and an exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    prepare(words[0] if words else "")
    # torch looks for a CUDA toolkit when it times or compiles, and warns about one without a gpu
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115  (None where the shell closed it: <&-)
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115  (print() would take stdout instead)
    with following():
        _run(arguments)


def _run(arguments: Sequence[str] | None) -> None:
    words = sys.argv[1:] if arguments is None else arguments
    guard()
    try:
        if asks_for_help(words):
            typer.echo(help_of(typer.main.get_command(app), words))
            sys.exit(0)
        app(arguments, prog_name="prunectl")
    except PrunectlError as error:
        _fail(visible(with_flags(str(error), _parameters(arguments))), error.exit_code)
    except (RuntimeError, MemoryError) as error:
        where = _full(error)
        if where is None:
            raise
        _fail(where, 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in _OF_PATHS or error.filename is None:
            raise
        _fail(f"{str(error.strerror).lower()}: '{visible(cut(str(error.filename)))}'; pass another path", 1)


def _fail(text: str, code: int) -> NoReturn:
    """End with one line, and with this code even if the line cannot be written (stderr on a full disk)."""
    with contextlib.suppress(OSError):
        print(wrapped(f"prunectl: {text}"), file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(code)


def with_flags(text: str, parameters: Iterable[Any]) -> str:
    """A message of the library with each parameter, such as `multiple_of`, replaced by its flag, --multiple-of."""
    flags: dict[str, str | None] = {}
    for parameter in parameters:
        spellings = [option.lstrip("-").replace("-", "_") for option in parameter.opts]
        flags |= dict.fromkeys([parameter.name, *spellings], _flag(parameter.opts))
    return re.sub(r"`(\w+)`", lambda found: flags.get(found[1]) or found[0], text)


def _flag(spellings: Sequence[str]) -> str | None:
    """The first long spelling of an option, else its first one; None for an argument."""
    options = [spelling for spelling in spellings if spelling.startswith("-")]
    return next((option for option in options if option.startswith("--")), options[0] if options else None)


def _parameters(arguments: Sequence[str] | None) -> Sequence[Any]:
    """The parameters of the command that a command line runs."""
    words = sys.argv[1:] if arguments is None else arguments
    commands = getattr(typer.main.get_command(app), "commands", {})
    return commands[words[0]].params if words and words[0] in commands else ()


def _full(error: Exception) -> str | None:
    """The message if memory is full or the system ended a worker process; None for other errors."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's own, by name to avoid importing torch
        return "out of memory on the device; use a smaller -b, or --device cpu"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "out of memory; use a smaller -b, --subset or --image-size"
    if str(error).startswith("DataLoader worker"):  # torch raises it from a signal handler, anywhere in the program
        return f"{LOST_WORKER}; use a smaller --image-size or -b"
    return None
