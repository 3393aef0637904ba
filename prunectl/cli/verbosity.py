"""How much a command prints on stderr: --quiet and --verbose, which every command has."""

import functools
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import typer

from prunectl.cli.heartbeat import beating, duration
from prunectl.errors import OptionError
from prunectl.version import __version__

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors and warnings.")]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Also print versions, more progress, time and peak memory.")
]
_LEVEL: ContextVar[int] = ContextVar("verbosity", default=0)
"""-1 is quiet, 1 verbose."""


def is_quiet() -> bool:
    """Whether only errors and warnings are to be printed."""
    return _LEVEL.get() < 0


def is_verbose() -> bool:
    """Whether more than usual is to be printed."""
    return _LEVEL.get() > 0


def with_verbosity(name: str, command: Callable[..., None]) -> Callable[..., None]:
    """A command with --quiet and --verbose, that shows that it is alive."""

    @functools.wraps(command)
    def run(*, quiet: bool = False, verbose: bool = False, **parameters: Any) -> None:
        if quiet and verbose:
            raise OptionError("give one of --quiet and --verbose")
        with _at(int(verbose) - int(quiet)), beating(name, silent=is_quiet()), _told(name):
            command(**parameters)

    own = inspect.signature(command)
    kind = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter("quiet", kind, default=False, annotation=Quiet),
        inspect.Parameter("verbose", kind, default=False, annotation=Verbose),
    ]
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]
    run.__annotations__ = {**command.__annotations__, "quiet": Quiet, "verbose": Verbose}
    return run


@contextmanager
def _at(level: int) -> Iterator[None]:
    """Print as much as this level says; a command inside of another one follows that one."""
    token = _LEVEL.set(level or _LEVEL.get())
    try:
        yield
    finally:
        _LEVEL.reset(token)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """With --verbose: the versions before a command, its time and memory after it."""
    if not is_verbose():
        yield
        return
    import importlib.metadata

    from prunectl.cli.output import counted, say

    python = ".".join(map(str, sys.version_info[:3]))
    say(f"{name}: prunectl {__version__}, torch {importlib.metadata.version('torch')}, Python {python}")
    started = time.monotonic()
    try:
        yield
    finally:
        say(f"{name}: {duration(time.monotonic() - started)}, peak memory {counted(_peak_bytes())}B")


def _peak_bytes() -> int | None:
    """The largest resident memory of this process; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
