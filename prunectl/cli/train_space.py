"""Reports the disk space that a training needs, before its first step."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from prunectl.cli import output

if TYPE_CHECKING:
    from prunectl.training.trainer import Trainer

try:
    import resource
except ImportError:  # not everywhere
    resource = None  # type: ignore[assignment]

_LARGE = 100_000_000
"""Bytes of a save from which its size is printed even if there is room."""


def say(trainer: "Trainer", path: Path, paused: Path) -> None:
    """Print the space that a training into `path` needs, as a warning if there is less.

    A save for --resume is written beside the previous one, and the checkpoint beside the last save.
    """
    save, network = trainer.state_bytes(), trainer.network_bytes()
    earlier = paused.stat().st_size if paused.exists() else 0
    needed = max(2 * save, save + network) - earlier
    free, largest = _free(path.absolute().parent), _largest_file()
    text = (
        f"a save for --resume takes {output.counted(save)}B, the checkpoint {output.counted(network)}B: up to "
        f"{output.counted(needed)}B together"
    )
    if free is not None and needed > free:
        output.warn(f"{text}, but {path.absolute().parent} has {output.counted(free)}B free; make room")
    elif largest is not None and save > largest:
        output.warn(f"{text}, but files are limited to {output.counted(largest)}B (ulimit -f); raise the limit")
    elif save >= _LARGE:
        output.say(f"train: {text}")


def _free(folder: Path) -> int | None:
    """The bytes that the user may still write there; None if unknown."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _largest_file() -> int | None:
    """The largest file that the system allows this process; None for any size."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else int(limit)
