"""Replaces a folder in one step, and keeps the files that others put there."""

import ctypes
import os
import shutil
from collections.abc import Collection
from pathlib import Path

_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux's renameat2(2)."""


def take_place(new: Path, old: Path, ours: Collection[str]) -> None:
    """Put folder `new` in the place of `old`, which moves to `new`; files of others stay where they are.

    The earlier or the new folder is whole at every moment, even if the process is killed. If the system cannot exchange
    two folders, the files of `ours` move one by one, and those that `new` lacks are removed.

    Raises:
        OSError: a file cannot be moved.
    """
    if not (_can_move(old) and _linked(old, new, ours) and _exchanged(new, old)):
        for name in ours:
            if (new / name).exists():
                (new / name).replace(old / name)
            else:
                (old / name).unlink(missing_ok=True)


def _can_move(folder: Path) -> bool:
    """Whether a folder can be moved safely: it is no link, and this process does not run in it."""
    return not folder.is_symlink() and not Path.cwd().is_relative_to(folder.resolve())


def _linked(old: Path, new: Path, ours: Collection[str]) -> bool:
    """Link the files that others put into `old` into `new` too; False if the file system cannot."""
    try:
        for each in old.iterdir():
            if each.name in ours:
                continue
            if each.is_dir() and not each.is_symlink():
                shutil.copytree(each, new / each.name, symlinks=True, copy_function=os.link)
            else:
                os.link(each, new / each.name, follow_symlinks=False)
        shutil.copymode(old, new)
    except OSError:
        return False
    return True


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; False if the system cannot."""
    try:
        exchange = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or an old C library
        return False
    done = exchange(_HERE, os.fsencode(one.absolute()), _HERE, os.fsencode(other.absolute()), _EXCHANGE)
    return bool(done == 0)
