"""Controls how much a command prints on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LEVEL: ContextVar[int] = ContextVar("verbosity", default=0)
"""-1 for quiet, 1 for verbose."""


def is_quiet() -> bool:
    """Whether to print only errors and warnings."""
    return _LEVEL.get() < 0


def is_verbose() -> bool:
    """Whether to print more than usual."""
    return _LEVEL.get() > 0


@contextmanager
def printing(*, quiet: bool, verbose: bool) -> Iterator[None]:
    """Set the verbosity inside the block; without either flag, a command uses that of the command that runs it."""
    token = _LEVEL.set(int(verbose) - int(quiet) or _LEVEL.get())
    try:
        yield
    finally:
        _LEVEL.reset(token)
