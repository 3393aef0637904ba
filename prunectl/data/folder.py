"""A tree of image files as a dataset: in memory if it fits, else read on demand."""

import math
import os

import torch

from prunectl.data.cache import decoded
from prunectl.data.decode import Decoder
from prunectl.data.images import ImageData, Images, Preprocessing
from prunectl.data.pixels import statistics
from prunectl.data.source import Progress
from prunectl.data.stream import Stream
from prunectl.data.tree import Files, Tree

# of ImageNet's training images: a stream is not read just to measure it
_COLOUR = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_MEASURED = 256
_GRAY = Preprocessing((0.449,), (0.226,))


def folder_data(name: str, tree: Tree, decoder: Decoder, *, limit: int | None, progress: Progress | None) -> ImageData:
    """Decode a tree into memory, or leave it on disk if it has more than `limit` bytes (None: half the memory)."""
    channels = decoder.shape[0]
    augment = ("flip",) if channels == 3 else ()
    changes = () if tree.split is None else (("split", tree.split),)
    total = (len(tree.train.paths) + len(tree.test.paths)) * math.prod(decoder.shape)
    if total > (half_of_memory() if limit is None else limit):
        train, test = _stream(tree.train, decoder), _stream(tree.test, decoder)
        preprocessing = stream_preprocessing(train)
        return ImageData(name, train, test, tree.classes, preprocessing, augment, changes, tree.notices)
    pixels = decoded(tree.root, tree.train.paths + tree.test.paths, decoder, progress)
    train_pixels, test_pixels = torch.split(pixels, [len(tree.train.paths), len(tree.test.paths)])
    return ImageData(
        name,
        Images(train_pixels, tree.train.labels),
        Images(test_pixels, tree.test.labels),
        tree.classes,
        statistics(train_pixels),
        augment,
        changes,
        tree.notices,
    )


def stream_preprocessing(images: Stream) -> Preprocessing:
    """ImageNet's, for gray or colour; for other channels, measured on some images, spread evenly."""
    channels = images.shape[0]
    if channels in (1, 3):
        return _COLOUR if channels == 3 else _GRAY
    some = torch.arange(min(len(images), _MEASURED)) * len(images) // min(len(images), _MEASURED)
    return statistics(next(images.take(some).batches(_MEASURED))[0])


def half_of_memory() -> int:
    """Half of the machine's memory, in bytes.

    Free memory is not used, because the same command must read its images in the same way on a busy machine.
    """
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _stream(files: Files, decoder: Decoder) -> Stream:
    return Stream(files.paths, torch.arange(len(files.paths)), files.labels, decoder)
