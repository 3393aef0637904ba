"""The folder of a dataset, and the error if it is missing."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prunectl.data.images import ImageData
from prunectl.errors import DataError

Progress = Callable[[int, int], None]
"""Called now and then with (done, total)."""


@dataclass(frozen=True)
class NetworkInput:
    """What a network takes, for datasets that follow it: image shape (C, H, W), classes, and how files are resized.

    The shorter side of a file is resized to side / `crop` pixels, then the central square is cropped.
    """

    shape: tuple[int, int, int]
    classes: int
    crop: float = 1.0
    interpolation: str = "bilinear"


class Loader(Protocol):
    """A dataset plug-in: loads the data below `root`, or downloads it to there if `download` allows.

    Loaders that take them also get `split`, the share of each class to hold out if there are no test images,
    `network`, a NetworkInput or None, and `direct`, True if the user named the dataset's folder.
    """

    def __call__(  # noqa: D102
        self, root: Path, *, image_size: int | None, download: bool, progress: Progress | None
    ) -> ImageData: ...


def cache_folder() -> Path:
    """The user's own cache folder: $XDG_CACHE_HOME/prunectl or ~/.cache/prunectl."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "prunectl"


def data_folder(given: Path | None) -> Path:
    """The folder that holds datasets: the given one, else $PRUNECTL_DATA_DIR, else the user's cache folder."""
    if given is not None:
        return given.expanduser()
    named = os.environ.get("PRUNECTL_DATA_DIR")
    return Path(named).expanduser() if named else cache_folder()


def missing(name: str, root: Path, looked_for: str) -> DataError:
    """The error for a dataset that is not below `root`, with the way to get it."""
    return DataError(
        f"no {name} in {root} (looked for {looked_for}); "
        "add `download` (train, prune, eval, attack), or set `data_dir` to its folder"
    )
