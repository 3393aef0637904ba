"""Seeded noise around one random image a class, for smoke runs (the RUBBISH set of the authors' code)."""

from pathlib import Path

import torch
from torch import Tensor

from prunectl.data.images import ImageData, Images
from prunectl.data.pixels import statistics
from prunectl.data.source import NetworkInput, Progress
from prunectl.errors import DataError

SHAPE, CLASSES, TRAIN = (1, 28, 28), 10, 2_000
_MOST_BYTES, _FEWEST = 2**25, 64
_MOST_VALUES = 2**26
_AT_ONCE = 64
_NOISE = 64.0  # standard deviation, in steps of a pixel


def synthetic(
    root: Path,
    *,
    image_size: int | None,
    download: bool,
    progress: Progress | None,
    shape: tuple[int, int, int] | None = None,
    network: NetworkInput | None = None,
) -> ImageData:
    """Noise around one random image for each class, in the shape of the network or of `synthetic:3x64x64`.

    2,000 images for training and 500 for testing have `shape` (C, H, W), else the network's shape, else 1x28x28.
    `image_size` replaces height and width. The network sets the number of classes, else 10. Large images in colour are
    fewer. `root` is not used.
    """
    channels, height, width = shape or (SHAPE if network is None else network.shape)
    if image_size is not None:
        height = width = image_size
    if channels * height * width > _MOST_VALUES:
        raise DataError(f"synthetic images of {channels}x{height}x{width} are too large; use at most 3x4096x4096")
    classes = CLASSES if network is None else network.classes
    count = TRAIN if channels == 1 else max(_FEWEST, min(TRAIN, _MOST_BYTES // (channels * height * width)))
    generator = torch.Generator().manual_seed(0)
    means = torch.rand(min(classes, count), channels, height, width, generator=generator) * 255
    train, test = _blobs(means, count, generator), _blobs(means, count // 4, generator)
    return ImageData("synthetic", train, test, tuple(map(str, range(classes))), statistics(train.pixels))


def _blobs(means: Tensor, count: int, generator: torch.Generator) -> Images:
    """Draw `count` images, the classes taking turns."""
    labels = torch.arange(count) % len(means)
    noise = torch.randn(count, *means.shape[1:], generator=generator)
    pixels = torch.empty(noise.shape, dtype=torch.uint8)
    for some in torch.split(torch.arange(count), _AT_ONCE):  # floats take four times the bytes of pixels
        pixels[some] = (means[labels[some]] + noise[some] * _NOISE).round_().clamp_(0, 255).to(torch.uint8)
    return Images(pixels, labels)
