"""Omniglot (Lake et al. 2015, https://github.com/brendenlake/omniglot): 964 characters, drawn by 20 people each."""

from pathlib import Path

import torch

from prunectl.data.cache import decoded
from prunectl.data.decode import Decoder
from prunectl.data.fetch import fetch
from prunectl.data.images import ImageData, Images
from prunectl.data.pixels import statistics
from prunectl.data.source import Progress, missing
from prunectl.data.tree import classes_in
from prunectl.errors import DataError

FOLDER = Path("omniglot-py", "images_background")
CHARACTERS, DRAWINGS, TRAIN_DRAWINGS = 964, 20, 15


def omniglot(root: Path, *, image_size: int | None, download: bool, progress: Progress | None) -> ImageData:
    """Handwritten characters (Lake et al. 2015), 28x28, 964 classes: by 15 people for training and by 5 for testing.

    `image_size` changes the size; ink is 255 and paper 0.
    """
    place = root / FOLDER
    if not place.is_dir():
        if not download:
            raise missing("omniglot", root, str(FOLDER))
        fetch("omniglot", root, _download)
    drawings = {
        f"{alphabet.name}/{character}": paths
        for alphabet in sorted(place.iterdir())
        for character, paths in classes_in(alphabet).items()
    }
    if len(drawings) != CHARACTERS or any(len(paths) != DRAWINGS for paths in drawings.values()):
        count = sum(map(len, drawings.values()))
        raise DataError(
            f"{place}: expected {CHARACTERS} characters of {DRAWINGS} drawings, found {len(drawings)} characters with "
            f"{count} drawings; delete it, then download it again with `download`"
        )
    paths = [path for character in drawings.values() for path in character]
    pixels = 255 - decoded(place, paths, Decoder(image_size or 28, "L"), progress)
    labels = torch.arange(CHARACTERS).repeat_interleave(DRAWINGS)
    is_train = torch.arange(len(labels)) % DRAWINGS < TRAIN_DRAWINGS
    train, test = (Images(pixels[part], labels[part]) for part in (is_train, ~is_train))
    return ImageData("omniglot", train, test, tuple(drawings), statistics(train.pixels))


def _download(root: Path) -> None:
    from torchvision.datasets import Omniglot  # noqa: PLC0415  (seconds, and only for a download)

    Omniglot(root, download=True)
