"""Seeded noise around one random image a class, for smoke runs (the RUBBISH set of the authors' code)."""

from pathlib import Path

import torch
from torch import Tensor

from prunectl.data.images import ImageData, Images
from prunectl.data.pixels import statistics
from prunectl.data.source import Progress

CLASSES, TRAIN, TEST = 10, 2_000, 500
_NOISE = 64.0  # standard deviation, in steps of a pixel


def synthetic(root: Path, *, image_size: int | None, download: bool, progress: Progress | None) -> ImageData:
    """2,000 training and 500 test images in 10 classes, 28x28 unless `image_size` says else; `root` is not used."""
    size = image_size or 28
    generator = torch.Generator().manual_seed(0)
    means = torch.rand(CLASSES, 1, size, size, generator=generator) * 255
    train, test = _blobs(means, TRAIN, generator), _blobs(means, TEST, generator)
    return ImageData("synthetic", train, test, tuple(map(str, range(CLASSES))), statistics(train.pixels))


def _blobs(means: Tensor, count: int, generator: torch.Generator) -> Images:
    """Draw `count` images, the classes taking turns."""
    labels = torch.arange(count) % len(means)
    noise = torch.randn(count, *means.shape[1:], generator=generator) * _NOISE
    return Images((means[labels] + noise).round_().clamp_(0, 255).to(torch.uint8), labels)
