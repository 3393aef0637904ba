"""classify: names and probabilities for image files, PIL images or pixels."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.header import Resize
from prunectl.errors import DataError
from prunectl.torchtools.contexts import evaluating, full_precision

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_FAILURES = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for a file that is no whole image."""


@dataclass(frozen=True)
class Prediction:
    """The most probable class of an image, and the `top` ones with their probabilities, the best first."""

    name: str
    probability: float
    top: tuple[tuple[str, float], ...]


def classify(checkpoint: Checkpoint, images: Iterable[Any], *, top: int = 5, batch_size: int = 64) -> list[Prediction]:
    """Classify paths, PIL images, or pixels (C, H, W), uint8 or float in [0, 1], in the order given.

    Files and PIL images are rotated as their EXIF data say, resized by the checkpoint's `resize`, and normalised.

    Raises:
        DataError: something is no image, or pixels have another shape than the network takes.
    """
    decoded = (pixels_of(image, checkpoint.spec.input, checkpoint.resize) for image in images)
    found: list[Prediction] = []
    for batch in _batches(decoded, batch_size):
        found += predictions(probabilities(checkpoint, batch), class_names(checkpoint), top)
    return found


def class_names(checkpoint: Checkpoint) -> Sequence[str]:
    """The names of the classes; their numbers where nobody gave names."""
    return checkpoint.names or tuple(str(i) for i in range(checkpoint.spec.classes))


def predictions(probabilities: Tensor, names: Sequence[str], top: int) -> list[Prediction]:
    """What probabilities (B, classes) say of each image."""
    best = probabilities.topk(min(top, len(names)), dim=1)
    rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    pairs = [tuple((names[i], p) for i, p in zip(indices, values, strict=True)) for indices, values in rows]
    return [Prediction(*row[0], row) for row in pairs]


def pixels_of(image: Any, shape: tuple[int, int, int], resize: Resize | None) -> Tensor:
    """Float pixels in [0, 1] of an image, in the shape (C, H, W) of a network's input.

    Raises:
        DataError: as `classify`.
    """
    if isinstance(image, str | Path):
        try:
            with Image.open(image) as opened:
                return _resized(opened, shape, resize)
        except _FAILURES as error:
            raise DataError(f"{image}: expected a whole image, found: {error}; replace or leave it out") from error
    if isinstance(image, Image.Image):
        return _resized(image, shape, resize)
    if not isinstance(image, Tensor) or tuple(image.shape) != shape:
        found = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise DataError(f"expected a path, a PIL image or pixels {shape}, found {found}")
    return image.float() / 255 if image.dtype == torch.uint8 else image.float()


def _resized(image: Image.Image, shape: tuple[int, int, int], resize: Resize | None) -> Tensor:
    """The shorter side to `size` / `crop`, then the middle; without a rule, the whole image to the network's size."""
    channels, height, width = shape
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):  # convert() would cut off at 255
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    plain = upright.convert(_MODES[channels])
    method = Image.Resampling[(resize.interpolation if resize else "bilinear").upper()]
    box = (0.0, 0.0, float(plain.width), float(plain.height))
    if resize is not None:
        side = resize.crop * min(plain.size)
        left, top = (plain.width - side) / 2, (plain.height - side) / 2
        box = (left, top, left + side, top + side)
    pixels = np.asarray(plain.resize((width, height), method, box=box))
    return torch.from_numpy(pixels.reshape(height, width, -1).copy()).permute(2, 0, 1).float() / 255


def probabilities(checkpoint: Checkpoint, images: Sequence[Tensor]) -> Tensor:
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
