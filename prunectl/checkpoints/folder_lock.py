"""Locks a folder while several of its files change together."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not everywhere
    fcntl = None  # type: ignore[assignment]

_TRIES, _PAUSE_S = 400, 0.05
"""How long a writer waits for another one."""


@contextlib.contextmanager
def folder_locked(folder: Path) -> Iterator[bool]:
    """Keep other writers out, and say whether that worked: not every file system has locks."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        yield fcntl is not None and _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Wait for a lock, up to a limit."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        except OSError:
            return False
    return False
