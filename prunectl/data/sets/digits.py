"""1,797 handwritten digits of 8x8 pixels, embedded in the package.

E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49, CC BY 4.0.

`digits.safetensors` was made from `sklearn.datasets.load_digits()` of scikit-learn 1.9, which is the test file of the
original: `pixels` uint8 (1797, 8, 8) in 0..16 and `labels` uint8 (1797,) in its order, and `split` uint8 (1797,), which
is 1 (test) for the 5th, 10th, 15th ... image of each class and 0 (train) for all others.
The JSON header is compact, its keys are sorted.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file

from prunectl.data.images import ImageData, Images
from prunectl.data.pixels import resized, statistics
from prunectl.data.source import Progress

FILE = Path(__file__).with_name("digits.safetensors")


def digits(root: Path, *, image_size: int | None, download: bool, progress: Progress | None) -> ImageData:
    """Handwritten digits, part of the package: 1,442 training and 355 test images, 28x28, 10 classes.

    `image_size` changes the size; `root` is not used.
    """
    file = load_file(FILE)
    pixels = (file["pixels"].float() * 255 / 16).round().to(torch.uint8)[:, None]  # (N, 1, 8, 8)
    images = Images(resized(pixels, image_size or 28), file["labels"].long())
    train, test = (images.take((file["split"] == part).nonzero().flatten()) for part in (0, 1))
    classes = tuple(str(digit) for digit in range(10))
    return ImageData("digits", train, test, classes, statistics(train.pixels))
