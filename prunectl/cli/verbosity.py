"""How much a command prints on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LEVEL: ContextVar[int] = ContextVar("verbosity", default=0)
"""-1 is quiet, 1 verbose."""


def is_quiet() -> bool:
    """Whether only errors and warnings are to be printed."""
    return _LEVEL.get() < 0


def is_verbose() -> bool:
    """Whether more than usual is to be printed."""
    return _LEVEL.get() > 0


@contextmanager
def printing(*, quiet: bool, verbose: bool) -> Iterator[None]:
    """Print as much as asked for; a command without either flag follows the one that runs it."""
    token = _LEVEL.set(int(verbose) - int(quiet) or _LEVEL.get())
    try:
        yield
    finally:
        _LEVEL.reset(token)
