"""Adds --quiet, --verbose and signs of life to every command."""

import functools
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from prunectl.cli.heartbeat import beating, duration
from prunectl.cli.output import counted, say
from prunectl.cli.verbosity import is_quiet, is_verbose, printing
from prunectl.errors import OptionError
from prunectl.version import __version__

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors and warnings.")]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Also print versions, more progress, time and peak memory.")
]


def watched(name: str, command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command with --quiet, --verbose and signs of life."""

    @functools.wraps(command)
    def run(*, quiet: bool = False, verbose: bool = False, **parameters: Any) -> None:
        if quiet and verbose:
            raise OptionError("--quiet and --verbose exclude each other; use one of them")
        with printing(quiet=quiet, verbose=verbose), beating(name, silent=is_quiet()), _described(name):
            command(**parameters)

    own = inspect.signature(command)
    added = [
        inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option)
        for each, option in (("quiet", Quiet), ("verbose", Verbose))
    ]
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]
    run.__annotations__ = {**command.__annotations__, "quiet": Quiet, "verbose": Verbose}
    return run


@contextmanager
def _described(name: str) -> Iterator[None]:
    """With --verbose: the versions before a command, its time and memory after it."""
    if not is_verbose():
        yield
        return
    import importlib.metadata

    python = ".".join(map(str, sys.version_info[:3]))
    say(f"{name}: prunectl {__version__}, torch {importlib.metadata.version('torch')}, Python {python}")
    started = time.monotonic()
    try:
        yield
    finally:
        say(f"{name}: {duration(time.monotonic() - started)}, peak memory {counted(_peak_bytes())}B")


def _peak_bytes() -> int | None:
    """The largest resident memory of this process; None if unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
