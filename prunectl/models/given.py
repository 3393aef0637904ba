"""What a user hands over, a module or a file and a loader or a dataset, as a checkpoint and its images."""

import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint, read
from prunectl.data.images import ImageData, Preprocessing
from prunectl.data.load import load_data
from prunectl.data.loader import Batches, first_shape, from_loader, missing_classes
from prunectl.errors import OptionError
from prunectl.models.fresh import from_module

Shape = tuple[int, int, int]
Network = nn.Module | Checkpoint | str | Path
"""A module that takes images (B, C, H, W) and returns logits (B, classes), a Checkpoint, or the path of one."""
Data = ImageData | Batches | str
"""Images: a DataLoader or any iterable of (float images (B, C, H, W) as the network takes them, integer labels (B,))
that can be iterated again, an ImageData, or the name of a dataset such as "cifar10"."""


def read_network(checkpoint: Checkpoint | str | Path) -> Checkpoint:
    """A checkpoint, read if its path is given."""
    return checkpoint if isinstance(checkpoint, Checkpoint) else read(Path(checkpoint))


def with_data(
    model: Network, data: Data | None, shape: Shape | None, test: Batches | None = None
) -> tuple[Checkpoint, ImageData | None]:
    """A checkpoint and its images."""
    if isinstance(data, str):
        data = load_data(data)
    if test is not None and isinstance(data, ImageData):
        raise OptionError("`test` goes with a loader; a dataset brings its own test images")
    if not isinstance(model, nn.Module):
        checkpoint = read_network(model)
    else:
        _check_float32(model)
        checkpoint = _from_module(model, data, shape)
    if data is None or isinstance(data, ImageData):
        return checkpoint, data
    return checkpoint, from_loader(data, classes=checkpoint.spec.classes, test=test)


def _from_module(model: nn.Module, data: ImageData | Batches | None, shape: Shape | None) -> Checkpoint:
    if isinstance(data, ImageData):
        return from_module(model, data.shape, data=data.name, preprocessing=data.preprocessing)
    if data is not None:
        shape = first_shape(data)
    if shape is None:
        raise OptionError("a module does not say what it takes: give `data`, or an image's shape (C, H, W) as `input`")
    as_it_is = Preprocessing((0.0,) * shape[0], (1.0,) * shape[0])
    return from_module(model, shape, preprocessing=as_it_is)


def to_measure(model: Network, data: Data) -> tuple[Checkpoint, ImageData]:
    """A checkpoint and images to evaluate on: the test images of a dataset, all those of a loader."""
    checkpoint, images = with_data(model, data, None)
    assert images is not None
    if isinstance(data, ImageData | str):
        return checkpoint, images
    return checkpoint, replace(images, test=images.train)


def _check_float32(model: nn.Module) -> None:
    other = {p.dtype for p in model.parameters() if p.is_floating_point() and p.dtype != torch.float32}
    if other:
        found = str(other.pop()).removeprefix("torch.")
        raise OptionError(
            f"expected a network in float32, found {found}; give a copy of it: copy.deepcopy(net).float()"
        )


def warn_of_missing_classes(images: ImageData | None, balanced: bool) -> None:
    """Warn that balanced draws leave out classes which no training image has."""
    lacking = missing_classes(images) if images is not None and balanced else []
    if lacking:
        names = ", ".join(map(str, lacking[:10])) + (", ..." if len(lacking) > 10 else "")
        warnings.warn(
            f"no image of {len(lacking)} of {len(images.classes if images else ())} classes ({names}): scores are "
            "balanced over the others",
            stacklevel=3,
        )
