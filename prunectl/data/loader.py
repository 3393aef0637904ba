"""Reads the user's own images from a DataLoader or any iterable of batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from prunectl.data.images import ImageData, Images, ImageSource, Preprocessing
from prunectl.errors import DataError

NAME = "loader"
"""The name of such images in histories and records."""
MOST_BYTES = 4 * 2**30
"""Images are kept in memory, as float32, up to this size."""
_UNIT = 255.0
"""Pixels are in [0, 255] everywhere; a loader's images are stored multiplied by 255, and divided again."""
_ROUNDING = 1e-6
Batches = Iterable[Any]
"""Batches of (float images (B, C, H, W) as the network takes them, integer labels (B,)); iterable repeatedly."""


@dataclass(frozen=True)
class FloatImages(Images):
    """Labelled images that are already normalised: `pixels` holds them times 255, float32 (N, C, H, W)."""

    def __post_init__(self) -> None:
        """Nothing to check: `from_loader` made them."""


def from_loader(loader: Batches, *, classes: int | None = None, test: Batches | None = None) -> ImageData:
    """Read a loader into memory, as images to train and score on; `test` are those to evaluate on, by default none.

    The network gets the images unchanged, up to float32 rounding. `classes` is the network's number, None for the
    largest label + 1.

    Raises:
        DataError: no batches, batches that are not images with labels, differing shapes, labels outside the classes, or
        more than `MOST_BYTES`.
    """
    train = _read(loader)
    tested = train.take(torch.arange(0)) if test is None else _read(test)
    if tested.shape != train.shape:
        raise DataError(f"the loader's images are {train.shape}, those of `test` {tested.shape}; expected one shape")
    labels = torch.cat([train.labels, tested.labels])
    count = int(labels.max()) + 1 if classes is None else classes
    if int(labels.min()) < 0 or int(labels.max()) >= count:
        raise DataError(
            f"the loader's labels are {int(labels.min())} to {int(labels.max())}, the network has {count} classes; "
            f"expected 0 to {count - 1}"
        )
    return ImageData(
        name=NAME,
        train=train,
        test=tested,
        classes=tuple(str(i) for i in range(count)),
        preprocessing=Preprocessing.unknown(train.shape[0]),
    )


def first_shape(loader: Batches) -> tuple[int, int, int]:
    """The shape (C, H, W) of the images in the first batch.

    Raises:
        DataError: as `from_loader`.
    """
    for images, _ in _batches(loader):
        channels, height, width = images.shape[1:]
        return channels, height, width
    raise DataError("the loader yields no batch; expected (images, labels)")


def as_network_takes(images: ImageData, preprocessing: Preprocessing) -> ImageData:
    """The images for a network with this preprocessing.

    Floats are the network's input; they become the pixels that `preprocessing` maps back to them.

    Raises:
        NoNormalisation: the images are pixels, and the network's normalisation is unknown.
    """
    if not isinstance(images.train, FloatImages):
        preprocessing.check_known()
        return images
    train, test = (_before(part, preprocessing) for part in (images.train, images.test))
    return replace(images, train=train, test=test)


def check_unit_range(images: ImageSource) -> None:
    """Refuse a loader's images that are not pixels in [0, 1].

    Raises:
        DataError: some are below 0 or above 1.
    """
    if not isinstance(images, FloatImages) or not len(images):
        return
    low, high = float(images.pixels.min()) / _UNIT, float(images.pixels.max()) / _UNIT
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise DataError(
            f"the loader's images are {low:.3g} to {high:.3g}, expected pixels in [0, 1]: put the normalisation into "
            "the network, or pass an ImageData with mean and std"
        )


def as_pixels(images: ImageSource) -> ImageSource:
    """Images of a loader in [0, 1] as uint8 pixels; others are returned unchanged.

    Raises:
        DataError: as `check_unit_range`.
    """
    check_unit_range(images)
    if not isinstance(images, FloatImages):
        return images
    return Images(images.pixels.round().clamp(0, 255).to(torch.uint8), images.labels)


def missing_classes(data: ImageData) -> list[int]:
    """The classes that no training image has, which balanced draws leave out."""
    counts = torch.bincount(data.train.labels, minlength=len(data.classes))
    return torch.nonzero(counts == 0).flatten().tolist()


def _before(images: ImageSource, preprocessing: Preprocessing) -> ImageSource:
    """The pixels that a normalisation maps to these floats."""
    if not isinstance(images, FloatImages):
        return images
    std, mean = (torch.tensor(values).view(-1, 1, 1) for values in (preprocessing.std, preprocessing.mean))
    if bool((std == 1).all() and (mean == 0).all()):
        return images
    device = images.pixels.device
    return FloatImages(images.pixels * std.to(device) + _UNIT * mean.to(device), images.labels)


def _read(loader: Batches) -> FloatImages:
    pixels: list[Tensor] = []
    labels: list[Tensor] = []
    size = 0
    for images, targets in _batches(loader):
        if pixels and images.shape[1:] != pixels[0].shape[1:]:
            raise DataError(
                f"the loader yields images of {tuple(pixels[0].shape[1:])} and of {tuple(images.shape[1:])}; expected "
                "one shape"
            )
        size += images.numel() * 4
        if size > MOST_BYTES:
            raise DataError(
                f"the loader yields more than {MOST_BYTES >> 30} GiB of images; use fewer, such as "
                "itertools.islice of it in a list, or train in a loop of your own with prunectl.hold"
            )
        pixels.append(images.detach().to("cpu", torch.float32) * _UNIT)
        labels.append(targets.detach().cpu().long())
    if not pixels:
        raise DataError("the loader yields no batch; expected (images, labels), and an iterable that can be repeated")
    return FloatImages(torch.cat(pixels), torch.cat(labels))


def _batches(loader: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    if not isinstance(loader, Iterable):
        raise DataError(f"expected a DataLoader or another iterable of (images, labels), found {_kind(loader)}")
    for batch in loader:
        yield _checked(batch)


def _checked(batch: Any) -> tuple[Tensor, Tensor]:
    """Images and labels of a batch."""
    if not isinstance(batch, list | tuple) or len(batch) != 2:
        count = f" of {len(batch)}" if isinstance(batch, list | tuple | dict) else ""
        raise DataError(f"expected batches (images, labels), found {_kind(batch)}{count}; networks take one input")
    images, labels = batch
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        raise DataError(f"expected float images (B, C, H, W), as the network takes them, found {_kind(images)}")
    if not isinstance(labels, Tensor) or labels.shape != images.shape[:1] or labels.is_floating_point():
        raise DataError(f"expected integer labels ({len(images)},), found {_kind(labels)}")
    return images, labels


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return f"a {type(value).__name__}"
