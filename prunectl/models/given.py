"""Turns the arguments of the Python functions (module or file, loader or dataset) into a checkpoint and images."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint, read
from prunectl.data.images import ImageData, Preprocessing
from prunectl.data.load import RESIZABLE, load_data
from prunectl.data.loader import Batches, as_network_takes, first_shape, from_loader, missing_classes
from prunectl.errors import DataError, OptionError
from prunectl.models.fresh import from_module

Shape = tuple[int, int, int]
Network = nn.Module | Checkpoint | str | Path
"""A module that takes images (B, C, H, W) and returns logits (B, classes), a Checkpoint, or the path of one."""
Data = ImageData | Batches | str
"""Images: a DataLoader or any iterable of (float images (B, C, H, W) as the network takes them, integer labels (B,))
that can be iterated again, an ImageData, or the name of a dataset such as "cifar10"."""


def read_network(checkpoint: Checkpoint | str | Path) -> Checkpoint:
    """The checkpoint itself, or read from its path."""
    return checkpoint if isinstance(checkpoint, Checkpoint) else read(Path(checkpoint))


@dataclass(frozen=True, eq=False)
class Given:
    """A checkpoint with its images, or None; `preprocessing` is that of the checkpoint's file."""

    checkpoint: Checkpoint
    images: ImageData | None
    preprocessing: Preprocessing

    @property
    def data(self) -> ImageData:
        """The images.

        Raises:
            DataError: there are none.
        """
        if self.images is None:
            raise DataError("no images: pass `data`, a loader, an ImageData or the name of a dataset")
        return self.images

    def restored(self, result: Checkpoint) -> Checkpoint:
        """The result, with the checkpoint's own preprocessing restored."""
        return replace(result, preprocessing=self.preprocessing)


def given(model: Network, data: Data | None, shape: Shape | None = None, test: Batches | None = None) -> Given:
    """A checkpoint and its images; `shape` is an image's, for a module without data; `test` is for a loader.

    A loader's images are already normalised, so the checkpoint does not normalise them.
    """
    if not isinstance(model, nn.Module):
        checkpoint = read_network(model)
        images = _loaded(data, checkpoint.spec.input)
    else:
        images = _loaded(data, None)
        checkpoint = _from_module(model, images, shape)
    if test is not None and (images is None or isinstance(images, ImageData)):
        raise OptionError("`test` is for a loader; a dataset has its own test images; leave it out")
    if images is None or isinstance(images, ImageData):
        ordered = None if images is None else images_of(checkpoint, images)
        return Given(checkpoint, ordered, checkpoint.preprocessing)
    found = from_loader(images, classes=checkpoint.spec.classes, test=test)
    return Given(replace(checkpoint, preprocessing=found.preprocessing), found, checkpoint.preprocessing)


def images_of(checkpoint: Checkpoint, images: ImageData) -> ImageData:
    """The images in the form that the network takes: classes in the order of its names, normalisation of floats undone.

    Raises:
        NoNormalisation: how pixels become the network's input is unknown.
    """
    return as_network_takes(images.in_order_of(checkpoint.names), checkpoint.preprocessing)


def given_to_measure(model: Network, data: Data) -> Given:
    """A checkpoint and images to evaluate on: a dataset's test images, or all of a loader."""
    found = given(model, data)
    if isinstance(data, ImageData | str):
        return found
    return replace(found, images=replace(found.data, test=found.data.train))


def _loaded(data: Data | None, shape: Shape | None) -> ImageData | Batches | None:
    """The named dataset, resized for the network if it has no fixed size."""
    if not isinstance(data, str):
        return data
    square = shape is not None and shape[1] == shape[2] and data.partition(":")[0] in RESIZABLE
    loaded = load_data(data, image_size=shape[1] if shape is not None and square else None)
    for notice in loaded.notices:
        warnings.warn(notice, stacklevel=4)
    return loaded


def _from_module(model: nn.Module, images: ImageData | Batches | None, shape: Shape | None) -> Checkpoint:
    if isinstance(images, ImageData):
        return from_module(
            model, images.shape, data=images.name, preprocessing=images.preprocessing, names=images.classes
        )
    if images is not None:
        shape = first_shape(images)
    if shape is None:
        raise OptionError(
            "a module does not state its input shape; pass `data`, or the shape (C, H, W) of an image as `input`"
        )
    return from_module(model, shape, preprocessing=Preprocessing.unknown(shape[0]))


def warn_of_missing_classes(images: ImageData | None, balanced: bool) -> None:
    """Warn that balanced draws leave out classes without training images."""
    lacking = missing_classes(images) if images is not None and balanced else []
    if lacking:
        names = ", ".join(map(str, lacking[:10])) + (", ..." if len(lacking) > 10 else "")
        warnings.warn(
            f"{len(lacking)} of {len(images.classes if images else ())} classes have no training image ({names}): "
            "scores are balanced over the others",
            stacklevel=3,
        )
