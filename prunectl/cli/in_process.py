"""Runs command lines inside this process for other commands, or parses them without running."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import typer

from prunectl.cli.app import main
from prunectl.cli.loading import Commands
from prunectl.errors import OptionError
from prunectl.plugins.trust import trusting

_COMMANDS = Commands()
_USAGE: type[Exception] = typer.BadParameter.__bases__[0]
_PLACES = ("PRUNECTL_DATA_DIR", "PRUNECTL_TRUST")
"""Environment variables that still apply: paths and trust, not options."""


@dataclass(frozen=True)
class Ran:
    """The outcome of a command: its exit code, its stdout, and its last line on stderr."""

    code: int
    out: str
    last: str


def run(arguments: Sequence[str], stream: TextIO | None = None, *, failure: bool = True) -> Ran:
    """Run `prunectl ARGUMENTS`; its stderr goes to `stream`, a failure's line only with `failure`.

    Unexpected exceptions are not caught.

    Options come only from the arguments, not from PRUNECTL_*.
    """
    out, err = io.StringIO(), _Tee(stream, failure)
    code = 0
    with _plain_environment(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        before, sys.stdin = sys.stdin, io.StringIO()
        try:
            main(arguments)
        except SystemExit as exited:
            code = exited.code if isinstance(exited.code, int) else int(exited.code is not None)
        finally:
            sys.stdin = before
    return Ran(code, out.getvalue().strip(), err.last.removeprefix("prunectl: "))


@dataclass(frozen=True)
class ConsentingRun:
    """Runs command lines, in any process, with the user's consent (`trust`) to this command."""

    trust: bool

    def __call__(self, arguments: Sequence[str], stream: TextIO | None = None) -> Ran:
        """Run `prunectl ARGUMENTS`."""
        with trusting(everything=self.trust):
            return run(arguments, stream)


def read(arguments: Sequence[str]) -> dict[str, Any]:
    """The parameters of a command line, with the command's name as `command`; nothing is run or imported.

    Raises:
        OptionError: unknown command or option, or an invalid value.
    """
    name = arguments[0] if arguments else ""
    command = _COMMANDS.get(name)
    if command is None:
        raise OptionError(f"no command '{name}'; known: {', '.join(_COMMANDS)}")
    try:
        with _plain_environment(), contextlib.redirect_stdout(io.StringIO()):
            context = command.make_context(name, list(arguments[1:]))
    except _USAGE as error:
        raise OptionError(error.format_message() if hasattr(error, "format_message") else str(error)) from error
    except typer.Exit:
        raise OptionError("--help runs no command") from None
    return {"command": name, **context.params}


def default(command: str, flag: str) -> object:
    """The default of a command's option; None if there is none or another option decides."""
    params = _COMMANDS[command].params if command in _COMMANDS else ()
    return next((param.default for param in params if flag in param.opts), None)


@contextlib.contextmanager
def _plain_environment() -> Iterator[None]:
    """Ignore options from the environment."""
    hidden = {key: os.environ[key] for key in os.environ if key.startswith("PRUNECTL_") and key not in _PLACES}
    for key in hidden:
        del os.environ[key]
    try:
        yield
    finally:
        os.environ.update(hidden)


class _Tee(io.StringIO):
    """Passes a text on, a failure's line only on request, and stores the last line."""

    def __init__(self, stream: TextIO | None, failure: bool) -> None:
        super().__init__()
        self.stream, self.failure, self.last, self.held = stream, failure, "", False

    def write(self, text: str) -> int:
        self.last = ([line.strip() for line in text.splitlines() if line.strip()] or [self.last])[-1]
        ends = self.held and text == "\n"  # print() writes the end of a line separately
        self.held = not self.failure and text.startswith("prunectl: ")
        if self.stream is not None and not ends and not self.held:
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        if self.stream is not None:
            self.stream.flush()
