"""Reads files that another process may be replacing."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from prunectl.errors import FileError

_TRIES = 20
_PAUSE_S = 0.02
Found = TypeVar("Found")


def steadily(path: Path, read: Callable[[], Found]) -> Found:
    """The result of `read` for the file at `path`; it reads again if the file changed meanwhile.

    `read` opens the file several times, for its header, its tensors and its hash, which must be of one file.

    Raises:
        FileError: from `read`, for a file that did not change.
    """
    for _ in range(_TRIES):
        before = _identity(path)
        try:
            found = read()
        except FileError:
            if _identity(path) == before:
                raise
        else:
            if _identity(path) == before:
                return found
        time.sleep(_PAUSE_S)
    return read()


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Values that change when a file is replaced or written to; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
