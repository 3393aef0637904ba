"""Opens files safely where a stranger may have put a link, a pipe or a device."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from prunectl.errors import FileError

try:
    import fcntl
except ImportError:  # not everywhere
    fcntl = None  # type: ignore[assignment]

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND
_FLAGS |= sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def opened(path: Path) -> int:
    """A descriptor of the regular file at `path`, to read and append; the file is created if it is missing.

    Raises:
        FileError: it cannot be opened, or something else than a regular file has that name.
    """
    try:
        descriptor = os.open(path, _FLAGS, 0o666)
    except OSError as error:
        what = "it is a link; move it away" if error.errno == errno.ELOOP else error.strerror
        raise FileError(f"cannot write {path}: {what}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileError(f"cannot write {path}: it is not a regular file; move it away")
    return descriptor


def readable(path: Path) -> BinaryIO:
    """A regular file, opened for reading; a pipe would block the reader.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_BINARY")))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        raise OSError(errno.EISDIR, "Is a directory") if is_folder else OSError(errno.EINVAL, "Not a regular file")
    return os.fdopen(descriptor, "rb")


def lock(descriptor: int) -> bool:
    """Lock an open file for this process; a kill frees the lock. False if another process holds it.

    File systems without locks hold none.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def append(descriptor: int, data: bytes) -> None:
    """Append all of `data`, or nothing: if the disk fills up on the way, the written part is removed again.

    Raises:
        OSError: it cannot be written.
    """
    begun, rest = os.fstat(descriptor).st_size, memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        with contextlib.suppress(OSError):
            if os.fstat(descriptor).st_size == begun + len(data) - len(rest):  # nobody else has added to it
                os.ftruncate(descriptor, begun)
        raise
