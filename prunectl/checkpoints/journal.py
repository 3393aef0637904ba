"""Records of a running command, one JSON line each, that survive a full disk or a deleted folder."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prunectl.checkpoints.files import json_line
from prunectl.checkpoints.opened import append, lock, opened
from prunectl.errors import FileError


class Journal:
    """A file of records that one process at a time writes; lines stay in memory until the file has them.

    A lock on it keeps others out; a kill releases the lock. `lines` are bytes that end in a newline.
    """

    def __init__(self, path: Path, taken: str) -> None:
        """Open the file, created if need be, with its complete lines.

        Raises:
            FileError: another process has it (with the message `taken`), or it cannot be opened.
        """
        self.path, self.taken = path, taken
        self._descriptor = self._claimed()
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            data = file.read()
        self.lines = [line for line in data.splitlines(keepends=True) if line.endswith(b"\n")]
        self._written, self._size = len(self.lines), sum(map(len, self.lines))
        """How many of the lines the file begins with, and their bytes; anything after that was cut off by a kill."""

    def begin(self, lines: Sequence[bytes]) -> None:
        """Replace the file's content by these lines.

        Raises:
            FileError: it cannot be written yet.
        """
        self.lines, self._written, self._size = list(lines), 0, 0
        self.flush()

    def keep(self, count: int) -> None:
        """Drop all but the first `count` lines.

        Raises:
            FileError: it cannot be written yet.
        """
        self.lines = self.lines[:count]
        self._written, self._size = count, sum(map(len, self.lines))
        self.flush()

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record.

        Raises:
            FileError: it cannot be written yet; it is kept for the next attempt.
        """
        self.lines.append(json_line(record).encode() + b"\n")
        self.flush()

    def flush(self) -> None:
        """Write the lines that the file lacks; create a deleted file again, with its folder.

        Raises:
            FileError: it cannot be written yet.
        """
        try:
            if not self._is_there():
                self.path.absolute().parent.mkdir(parents=True, exist_ok=True)
                lost, self._descriptor = self._descriptor, self._claimed()
                os.close(lost)
            if os.fstat(self._descriptor).st_size < self._size:
                self._written = self._size = 0
            os.ftruncate(self._descriptor, self._size)
            data = b"".join(self.lines[self._written :])
            if data:
                append(self._descriptor, data)
            self._written, self._size = len(self.lines), self._size + len(data)
        except OSError as error:
            raise FileError(f"cannot write {self.path}: {error.strerror}") from error

    def move(self, target: Path) -> None:
        """Write the missing lines, and rename the file, unless it is empty.

        Raises:
            FileError: it cannot be written.
        """
        self.flush()
        if self.lines:
            self.path.replace(target)

    def close(self) -> None:
        """Release the file; an empty one is removed."""
        if not self.lines and self._is_there():
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _is_there(self) -> bool:
        """Whether the path still leads to the open file."""
        ours = os.fstat(self._descriptor)
        try:
            named = self.path.lstat()
        except OSError:
            return False
        return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)

    def _claimed(self) -> int:
        """The descriptor of the file, opened and locked."""
        descriptor = opened(self.path)
        try:
            if os.fstat(descriptor).st_nlink > 1:
                raise FileError(f"cannot write {self.path}: it has another name too (a hard link); move it away")
            if not lock(descriptor):
                raise FileError(self.taken)
        except FileError:
            os.close(descriptor)
            raise
        return descriptor
