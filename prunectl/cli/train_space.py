"""The space on disk that a training needs, said before its first step."""

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
"""Bytes of a save from which on its size is said where there is room, too."""


def say(trainer: "Trainer", path: Path, paused: Path) -> None:
    """Say what a training into `path` needs, as a warning where there is less.

    A save for --resume is written beside the one before, and the checkpoint beside the last save.
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
        output.warn(f"{text}, and {path.absolute().parent} has {output.counted(free)}B free; make room")
    elif largest is not None and save > largest:
        output.warn(f"{text}, and files are limited to {output.counted(largest)}B (ulimit -f); raise that")
    elif save >= _LARGE:
        output.say(f"train: {text}")


def _free(folder: Path) -> int | None:
    """Bytes that the user may still write there, None where the system does not say."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _largest_file() -> int | None:
    """The size that the system allows a file of this process, None for any."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else int(limit)
