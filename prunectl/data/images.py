"""Labelled images: one uint8 tensor on the device, sliced, normalised and augmented there, batch by batch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from prunectl.errors import DataError, NoNormalisation
from prunectl.torchtools.rng import seed_for

HELD_OUT = 0.2
CROP_PADDING = 4
_SPLIT_SEED = 2006_00896  # the held-out part must not move with the user's seed
_GOLDEN = 0x9E37_79B9_7F4A_7C15
ALL = slice(None)
Rows = Callable[[int], slice]
"""Selects the images of a batch of this size."""


@dataclass(frozen=True)
class Preprocessing:
    """How pixels in [0, 1] become network input, per channel: (pixel - mean) / std.

    `known` is False if a loader normalised the images: mean 0 and std 1 are then right for them, but not for pixels.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    known: bool = True

    @staticmethod
    def unknown(channels: int) -> "Preprocessing":
        """For images that are passed on unchanged, and whose normalisation is unknown."""
        return Preprocessing((0.0,) * channels, (1.0,) * channels, known=False)

    def check_known(self) -> None:
        """Refuse to read pixels if their normalisation is unknown.

        Raises:
            NoNormalisation: `known` is False.
        """
        if not self.known:
            how = "prunectl.save(checkpoint, path, mean=..., std=...) in Python; for pixels in [0, 1], mean=0, std=1"
            said = "the checkpoint does not state how its images were normalised: they came from a loader"
            raise NoNormalisation(f"{said}. Save it with {how}")

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalise uint8 pixels (B, C, H, W) to float32 of the same shape."""
        scale, shift = _affine(self.mean, self.std, pixels.device)
        return torch.addcmul(shift, pixels.float(), scale)


@lru_cache(maxsize=64)
def _affine(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and shift (C, 1, 1), made once per device: making them for every batch would wait for the gpu."""
    scale = [1 / (255 * s) for s in std]
    shift = [-m / s for m, s in zip(mean, std, strict=True)]
    with torch.inference_mode(False):  # who comes first may be evaluating, who comes next wants a gradient
        return torch.tensor(scale, device=device).view(-1, 1, 1), torch.tensor(shift, device=device).view(-1, 1, 1)


class ImageSource(Protocol):
    """Labelled images of one shape, in memory (`Images`) or read from disk on demand."""

    @property
    def labels(self) -> Tensor:
        """Class indices, int64 of shape (N,)."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> "ImageSource":
        """Move the tensors in memory to a device."""

    def take(self, index: Tensor) -> "ImageSource":
        """The images at these positions."""

    def relabel(self, labels: Tensor) -> "ImageSource":
        """The same images under other labels."""

    def batches(
        self,
        size: int,
        *,
        seed: int | None = None,
        start: int = 0,
        augment: tuple[str, ...] = (),
        rows: "Rows" = slice,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (pixels uint8 (B, C, H, W), labels (B,)); see `Images.batches`."""


@dataclass(frozen=True)
class Images:
    """Labelled images in memory: pixels uint8 (N, C, H, W), labels int64 (N,)."""

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            raise DataError(f"images must be uint8 (N, C, H, W), got {self.pixels.dtype} {tuple(self.pixels.shape)}")
        if self.labels.shape != self.pixels.shape[:1]:
            raise DataError(f"expected a label per image, got {len(self.labels)} labels for {len(self.pixels)} images")
        if self.labels.dtype != torch.int64:
            raise DataError(f"labels must be int64 (N,), got {self.labels.dtype}; convert them with .long()")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> "Images":
        """Move both tensors to a device."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def take(self, index: Tensor) -> "Images":
        """The images at these positions."""
        return replace(self, pixels=self.pixels[index], labels=self.labels[index])

    def relabel(self, labels: Tensor) -> "Images":
        """The same images under other labels."""
        return replace(self, labels=labels)

    def batches(
        self,
        size: int,
        *,
        seed: int | None = None,
        start: int = 0,
        augment: tuple[str, ...] = (),
        rows: "Rows" = slice,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (pixels uint8 (B, C, H, W), labels (B,)), in order or, with a seed, shuffled and augmented.

        Order and augmentation of batch i depend only on (seed, i), so an interrupted epoch can resume at any batch.
        A shuffled epoch leaves out a last batch of a single image, which BatchNorm cannot train on. `rows` may pick
        images of every batch; they are the same as in the whole batch. A batch without picked images is left out.
        """
        order = shuffled(len(self), seed, self.pixels.device)
        for i, chosen in enumerate(slices(len(self), size, drop_single=seed is not None)):
            if i < start:
                continue
            whole = range(chosen.start, chosen.stop)
            part = rows(len(whole))
            mine = whole[part]
            if not len(mine):
                continue
            picked = slice(mine.start, mine.stop, mine.step)
            index = picked if order is None else order[picked]
            pixels = self.pixels[index]
            if seed is not None:
                pixels = augmented(pixels, augment, mixed(seed, i), len(whole), part)
            yield pixels, self.labels[index]


@dataclass(frozen=True)
class ImageData:
    """A dataset: images to train on, images to evaluate on, and what a network must know about them."""

    name: str
    train: ImageSource
    test: ImageSource
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    augment: tuple[str, ...] = ()
    changes: tuple[tuple[str, Any], ...] = ()
    """Changes to the dataset on disk, such as ("tuning", True)."""
    notices: tuple[str, ...] = ()
    """Notices for the user about parts of the dataset that are unused or replace something missing."""

    @property
    def described(self) -> dict[str, Any]:
        """Name and changes, for histories and records."""
        return {"name": self.name, **dict(self.changes)}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return self.train.shape

    def check_fits(self, shape: tuple[int, int, int], classes: int, network: str) -> None:
        """Refuse a network made for other images.

        Raises:
            DataError: shape or number of classes differ.
        """
        if (self.shape, len(self.classes)) != (shape, classes):
            raise DataError(
                f"network {network} takes {_words(shape)} images of {classes} classes, {self.name} has "
                f"{_words(self.shape)} of {len(self.classes)}; use the `data` that it was made for, or set `image_size`"
            )

    def in_order_of(self, names: tuple[str, ...]) -> "ImageData":
        """The same images with their classes numbered as in `names`, if these are the same names in another order.

        Folders number their classes alphabetically, other programs in any order.
        """
        if names == self.classes or sorted(names) != sorted(self.classes) or len(set(names)) < len(names):
            return self
        numbers = torch.tensor([names.index(name) for name in self.classes])
        train, test = (part.relabel(numbers.to(part.labels.device)[part.labels]) for part in (self.train, self.test))
        return replace(self, classes=names, train=train, test=test)

    def to(self, device: torch.device) -> "ImageData":
        """Place the images on a device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    def tuning(self) -> "ImageData":
        """Hold out a fixed fifth of the training images for evaluation, instead of the test images."""
        order = _permutation(len(self.train), _SPLIT_SEED)
        held = int(len(self.train) * HELD_OUT)
        train, test = self.train.take(order[held:]), self.train.take(order[:held])
        return replace(self, train=train, test=test, changes=(*self.changes, ("tuning", True)))

    def subset(self, count: int, seed: int) -> "ImageData":
        """Train on `count` images drawn at random."""
        if not 2 <= count <= len(self.train):
            raise DataError(f"`subset` takes 2 to {len(self.train)}, the training images of {self.name}, got {count}")
        chosen = _permutation(len(self.train), seed)[:count].sort().values
        return replace(self, train=self.train.take(chosen), changes=(*self.changes, ("subset", count)))

    def random_labels(self, seed: int) -> "ImageData":
        """Shuffle the labels of the training images, not of the test images (Zhang et al. 2017)."""
        labels = self.train.labels
        shuffled_labels = labels[_permutation(len(labels), seed_for("labels", seed)).to(labels.device)]
        train = self.train.relabel(shuffled_labels)
        return replace(self, train=train, changes=(*self.changes, ("random_labels", True)))


def no_images(shape: tuple[int, int, int], classes: int) -> ImageData:
    """A dataset without images, for a network that is made from a shape (C, H, W) and classes alone."""
    empty = Images(torch.empty(0, *shape, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))
    as_it_is = Preprocessing((0.0,) * shape[0], (1.0,) * shape[0])
    return ImageData("", empty, empty, tuple(map(str, range(classes))), as_it_is)


def _words(shape: tuple[int, int, int]) -> str:
    return "x".join(str(size) for size in shape)


def mixed(seed: int, i: int) -> int:
    """Spread (seed, i) over 63 bits, as the seed of a generator."""
    return (seed * 0x2545_F491_4F6C_DD1D + (i + 1) * _GOLDEN) % 2**63


def shuffled(count: int, seed: int | None, device: torch.device) -> Tensor | None:
    """A seeded order of `count` items, drawn on the cpu so that every device sees the same; None without a seed."""
    return None if seed is None else _permutation(count, seed).to(device)


def slices(count: int, size: int, *, drop_single: bool) -> Iterator[slice]:
    """Cut `count` items into batches; a last batch of one item can be dropped."""
    for first in range(0, count, size):
        if drop_single and first and count - first == 1:
            return
        yield slice(first, min(first + size, count))


def augmented(
    pixels: Tensor, augment: tuple[str, ...], seed: int, whole: int | None = None, part: slice = ALL
) -> Tensor:
    """Flip each image with probability 1/2, and crop it at random after padding by 4, if `augment` says so.

    Shape and type stay (B, C, H, W), uint8. Random numbers are drawn on the cpu and are the same on every device. They
    are drawn for `whole` images, of which these are a `part`.
    """
    if not augment:
        return pixels
    generator = torch.Generator().manual_seed(seed)
    count, _, height, width = pixels.shape
    whole = count if whole is None else whole
    device = pixels.device
    rows = torch.arange(height, device=device).expand(count, height)
    columns = torch.arange(width, device=device).expand(count, width)
    if "crop" in augment:
        shift = torch.randint(-CROP_PADDING, CROP_PADDING + 1, (2, whole, 1), generator=generator)[:, part]
        shift = shift.to(device, non_blocking=True)
        rows, columns = rows + shift[0], columns + shift[1]
    if "flip" in augment:
        flip = torch.rand(whole, 1, generator=generator)[part] < 0.5
        columns = torch.where(flip.to(device, non_blocking=True), columns.flip(1), columns)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    source = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]  # (B, H, W)
    moved = pixels.flatten(2).gather(2, source.flatten(1)[:, None, :].expand(-1, pixels.shape[1], -1))
    return moved.view_as(pixels) * inside[:, None]


def _permutation(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed % 2**63))
