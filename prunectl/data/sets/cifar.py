"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 50,000 training and 10,000 test images of 32x32 in colour."""

import warnings
from pathlib import Path
from typing import Any

import torch

from prunectl.data.fetch import opened
from prunectl.data.images import ImageData, Images, Preprocessing
from prunectl.data.pixels import resized
from prunectl.data.source import Progress

_FOLDERS = {"CIFAR10": "cifar-10-batches-py", "CIFAR100": "cifar-100-python"}


def cifar10(root: Path, *, image_size: int | None, download: bool, progress: Progress | None) -> ImageData:
    """Photos of objects and animals (Krizhevsky 2009): 50,000 for training and 10,000 for testing, 32x32, 10 classes.

    Read from `root`/cifar-10-batches-py.
    """
    preprocessing = Preprocessing((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    return _cifar("CIFAR10", preprocessing, root, image_size, download)


def cifar100(root: Path, *, image_size: int | None, download: bool, progress: Progress | None) -> ImageData:
    """Photos of objects and animals (Krizhevsky 2009): 50,000 for training, 10,000 for testing, 32x32, 100 classes.

    Read from `root`/cifar-100-python.
    """
    preprocessing = Preprocessing((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
    return _cifar("CIFAR100", preprocessing, root, image_size, download)


def _cifar(title: str, preprocessing: Preprocessing, root: Path, image_size: int | None, download: bool) -> ImageData:
    def open_at(folder: Path, download: bool) -> tuple[Any, Any]:
        from torchvision import datasets  # noqa: PLC0415  (takes seconds)

        with warnings.catch_warnings():
            # NumPy 2.4 dislikes how the files were pickled, https://github.com/pytorch/vision/issues/9340
            warnings.filterwarnings("ignore", message="dtype\\(\\): align should be passed")
            train, test = (getattr(datasets, title)(folder, train=part, download=download) for part in (True, False))
        return train, test

    sets = opened(title.lower(), root, _FOLDERS[title], open_at, download)
    train, test = (
        Images(
            resized(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), image_size),  # (N, 3, H, W)
            torch.tensor(part.targets),
        )
        for part in sets
    )
    return ImageData(title.lower(), train, test, tuple(sets[0].classes), preprocessing, ("flip", "crop"))
