"""Whose code may run: what the user names on the command line, and on consent what files name."""

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

_EVERYTHING = "*"
_TRUSTED: ContextVar[frozenset[str]] = ContextVar("trusted", default=frozenset())


@contextmanager
def trusting(specs: Iterable[str] = (), *, everything: bool = False) -> Iterator[None]:
    """Trust the files and packages of these specs, or `everything`, for as long as this lasts."""
    token = _TRUSTED.set(_TRUSTED.get() | {*map(_code, specs), *([_EVERYTHING] if everything else [])})
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def trust(*specs: str) -> AbstractContextManager[None]:
    """Let code run that files name: `with prunectl.trust("net.py:build"): prunectl.prune("x.safetensors", ...)`.

    Without `specs`, as `file.py:name` or `package.module:name`, all code. It applies to every function that reads a
    path.
    """
    return trusting(specs, everything=not specs)


def consented() -> bool:
    """Whether the user consents to all that a file asks for."""
    return os.environ.get("PRUNECTL_TRUST") == "1" or _EVERYTHING in _TRUSTED.get()


def is_trusted(spec: str) -> bool:
    """Whether the code of `file.py:name` or `package.module:name` may run: the user named it, or consents to all."""
    return consented() or _code(spec) in _TRUSTED.get()


def _code(spec: str) -> str:
    """What runs: a file, from whatever folder it is named, or a module."""
    place = spec.rpartition(":")[0]
    return os.path.realpath(place) if place.endswith(".py") else place
