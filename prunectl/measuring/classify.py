"""classify: names and probabilities for image files, PIL images or pixels."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.header import Resize
from prunectl.data.decode import FAILURES, Decoder, in_eight_bits, upright
from prunectl.errors import DataError
from prunectl.torchtools.contexts import evaluating, full_precision

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Prediction:
    """The most probable class of an image, and the `top` classes with their probabilities, the best first."""

    name: str
    probability: float
    top: tuple[tuple[str, float], ...]


def classify(checkpoint: Checkpoint, images: Iterable[Any], *, top: int = 5, batch_size: int = 64) -> list[Prediction]:
    """Classify paths, PIL images, or pixels (C, H, W), uint8 or float in [0, 1], in the given order.

    Files and PIL images are rotated by their EXIF data, resized by the checkpoint's `resize`, and normalised.

    Raises:
        DataError: something is not an image, or pixels do not have the network's input shape.
    """
    network = classifier_of(checkpoint)
    decoded = (pixels_of(image, network.shape, network.resize) for image in images)
    found: list[Prediction] = []
    for batch in _batches(decoded, batch_size):
        found += predictions(network.probabilities(batch), network.names, top)
    return found


@dataclass(frozen=True, eq=False)
class Classifier:
    """Classifies images, with the network of any kind of file.

    `probabilities` maps B images (C, H, W) of pixels in [0, 1], of this `shape`, to (B, classes) on the cpu; `names`
    are the class names, or numbers if there are none.
    """

    shape: Shape
    resize: Resize | None
    names: Sequence[str]
    probabilities: Callable[[Sequence[Tensor]], Tensor]


def classifier_of(checkpoint: Checkpoint) -> Classifier:
    """The network of a checkpoint as a classifier.

    Raises:
        NoNormalisation: how pixels become its input is unknown.
    """
    checkpoint.preprocessing.check_known()
    return Classifier(
        shape=checkpoint.spec.input,
        resize=checkpoint.resize,
        names=checkpoint.names or tuple(str(i) for i in range(checkpoint.spec.classes)),
        probabilities=partial(_probabilities, checkpoint),
    )


def predictions(probabilities: Tensor, names: Sequence[str], top: int) -> list[Prediction]:
    """The prediction for each image from probabilities (B, classes)."""
    best = probabilities.topk(min(top, len(names)), dim=1)
    rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    pairs = [tuple((names[i], p) for i, p in zip(indices, values, strict=True)) for indices, values in rows]
    return [Prediction(*row[0], row) for row in pairs]


def pixels_of(image: Any, shape: Shape, resize: Resize | None) -> Tensor:
    """Float pixels in [0, 1] of an image, in the shape (C, H, W) of a network's input.

    Raises:
        DataError: as `classify`.
    """
    if isinstance(image, str | Path):
        try:
            with Image.open(image) as opened:
                return _resized(opened, shape, resize)
        except FAILURES as error:
            reason = error.strerror if isinstance(error, OSError) else None
            what = reason.lower() if reason else str(error).rstrip(".")
            raise DataError(f"{image}: expected a whole image, found: {what}; replace or leave it out") from error
    if isinstance(image, Image.Image):
        return _resized(image, shape, resize)
    if not isinstance(image, Tensor) or tuple(image.shape) != shape:
        found = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise DataError(f"expected a path, a PIL image or pixels {shape}, found {found}")
    return image.float() / 255 if image.dtype == torch.uint8 else image.float()


def _resized(image: Image.Image, shape: Shape, resize: Resize | None) -> Tensor:
    """Resize by the rule, exactly as for image folders; without one, resize the whole image to the network's size."""
    channels, height, width = shape
    if resize is not None and height == width and channels in (1, 3):
        decoder = Decoder(height, "L" if channels == 1 else "RGB", resize.crop, resize.interpolation)
        pixels = decoder.decode(image)
    else:
        whole = in_eight_bits(upright(image)).convert(_MODES[channels])
        squeezed = np.asarray(whole.resize((width, height), Image.Resampling.BILINEAR))
        pixels = squeezed.reshape(height, width, -1).transpose(2, 0, 1)
    return torch.from_numpy(pixels.copy()).float() / 255


def _probabilities(checkpoint: Checkpoint, images: Sequence[Tensor]) -> Tensor:
    """Softmax (B, classes) of B images (C, H, W) of pixels in [0, 1], on the cpu."""
    pixels = torch.stack(list(images))
    model = checkpoint.model
    with evaluating(model), full_precision(), torch.inference_mode():
        logits: Tensor = model(checkpoint.preprocessing(255 * pixels.to(checkpoint.device)))
        return logits.float().softmax(1).cpu()


def _batches(images: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    batch: list[Tensor] = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
