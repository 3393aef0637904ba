"""Street View House Numbers, cropped digits (Netzer et al. 2011): 73,257 training and 26,032 test images of 32x32."""

from pathlib import Path
from typing import Any

import torch

from prunectl.data.fetch import opened
from prunectl.data.images import ImageData, Images, Preprocessing
from prunectl.data.pixels import resized
from prunectl.data.source import Progress


def svhn(root: Path, *, image_size: int | None, download: bool, progress: Progress | None) -> ImageData:
    """Photos of house numbers (Netzer et al. 2011), a digit each: 73,257 for training, 26,032 for testing, 32x32.

    Read from `root`/train_32x32.mat and test_32x32.mat.
    """

    def open_at(folder: Path, download: bool) -> tuple[Any, Any]:
        from torchvision.datasets import SVHN  # noqa: PLC0415  (takes seconds)

        train, test = (SVHN(folder, split=part, download=download) for part in ("train", "test"))
        return train, test

    train, test = (
        Images(resized(torch.tensor(part.data), image_size), torch.tensor(part.labels))
        for part in opened("svhn", root, "train_32x32.mat", open_at, download)
    )
    preprocessing = Preprocessing((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))
    return ImageData("svhn", train, test, tuple(str(digit) for digit in range(10)), preprocessing)
