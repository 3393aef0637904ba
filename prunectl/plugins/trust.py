"""Decides whose code may run: code that the user names on the command line, and with consent code named in files."""

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

_EVERYTHING = "*"
_TRUSTED: ContextVar[frozenset[str]] = ContextVar("trusted", default=frozenset())


@contextmanager
def trusting(specs: Iterable[str] = (), *, everything: bool = False) -> Iterator[None]:
    """Trust the files and packages of these specs, or `everything`, inside the block."""
    token = _TRUSTED.set(_TRUSTED.get() | {*map(_code, specs), *([_EVERYTHING] if everything else [])})
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def trust(*specs: str) -> AbstractContextManager[None]:
    """Allow code named in files to run: `with prunectl.trust("net.py:build"): prunectl.prune("x.safetensors", ...)`.

    `specs` are `file.py:name` or `package.module:name`; without them, all code is allowed. It applies to every
    function that reads a path.
    """
    return trusting(specs, everything=not specs)


def consented() -> bool:
    """Whether the user consents to everything that a file names."""
    return os.environ.get("PRUNECTL_TRUST") == "1" or _EVERYTHING in _TRUSTED.get()


def is_trusted(spec: str) -> bool:
    """Whether the code of `file.py:name` or `package.module:name` may run: the user named it, or consents to all."""
    return consented() or _code(spec) in _TRUSTED.get()


def _code(spec: str) -> str:
    """The code that runs: a file, by its path from any folder, or a module."""
    place = spec.rpartition(":")[0]
    return os.path.realpath(place) if place.endswith(".py") else place
