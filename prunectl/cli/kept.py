"""Keeps the result of a command elsewhere if its target cannot be written."""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from prunectl.cli import output
from prunectl.errors import CheckpointError, FileError, NotWritten


def written(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` write a result to `path`, whose folder is created again if it vanished.

    If that fails, the result goes to a new folder in $TMPDIR. On a terminal the user may then make room and press Enter
    to try again.

    Raises:
        NotWritten: all attempts failed.
    """
    try:
        _write(path, write)
    except CheckpointError:  # the result itself is at fault
        raise
    except FileError as error:
        kept = _elsewhere(path, write)
        failure = _tried_again(path, write, error, kept)
        if failure is not None:
            raise NotWritten(f"{failure}; {_where(kept)}", kept) from failure
        if kept is not None:
            shutil.rmtree(kept.parent, ignore_errors=True)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error
    write(path)


def _elsewhere(path: Path, write: Callable[[Path], object]) -> Path | None:
    """The result's path in a new folder of $TMPDIR; None if there is no room either."""
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix="prunectl-kept-"))
        write(folder / path.name)
    except (FileError, OSError):
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        return None
    return folder / path.name


def _tried_again(path: Path, write: Callable[[Path], object], error: FileError, kept: Path | None) -> FileError | None:
    """Try again whenever the user presses Enter; returns the last failure, or None once it is written."""
    while _asks():
        output.warn(f"{error}; {_where(kept)}; make room and press Enter to try again, or Ctrl-C")
        try:
            if not _answer():
                return error
            _write(path, write)
        except KeyboardInterrupt:
            return error
        except FileError as again:
            error = again
        else:
            return None
    return error


def _answer() -> str:
    return sys.stdin.readline()


def _asks() -> bool:
    """Whether a user can see and answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _where(kept: Path | None) -> str:
    return f"the result is in {kept}" if kept is not None else f"{tempfile.gettempdir()} has no room for it either"
