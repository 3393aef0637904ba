"""A part of each class, held out to test on where a dataset brings no test images."""

import hashlib
import os
from pathlib import Path

from prunectl.errors import OptionError

DEFAULT_SPLIT = 0.1
_SEED = "prunectl 2006.00896"  # the test images must not move with the user's seed


def check_split(share: float) -> None:
    """Refuse a share outside (0, 1).

    Raises:
        OptionError: it is.
    """
    if not 0 < share < 1:
        raise OptionError(f"--split {share:g}: expected a share of the images in (0, 1), such as 0.1")


def held_out(paths: list[str], root: Path, share: float) -> tuple[list[str], list[str]]:
    """Split the files of one class into those to train on and those to test on, each in the order of `paths`.

    Every file has a place in a fixed order that its path below `root` decides, so that the same files are held out on
    every machine, a larger share holds out those of a smaller one and more, and new files hardly move the others. A
    class of two images or more keeps at least one on either side; the only image of a class is trained on.
    """
    wanted = min(max(1, int(len(paths) * share + 0.5)), len(paths) - 1)
    chosen = set(sorted(paths, key=lambda path: _place(path, root))[:wanted])
    return [path for path in paths if path not in chosen], [path for path in paths if path in chosen]


def _place(path: str, root: Path) -> bytes:
    name = os.path.relpath(path, root).replace(os.sep, "/")
    return hashlib.sha256(os.fsencode(f"{_SEED}\0{name}")).digest()
