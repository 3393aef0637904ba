"""Image files to pixels of one size."""

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prunectl.errors import DataError

_FAILURES = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
_GRAY = ("1", "L", "LA", "I;16", "I;16B")


@dataclass(frozen=True)
class Decoder:
    """Reads an image file, takes the middle square and resizes it to `size` pixels a side, in gray or in colour."""

    size: int
    mode: Literal["L", "RGB"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what it brings."""
        return len(self.mode), self.size, self.size

    def __call__(self, path: str) -> NDArray[np.uint8]:
        """Decode one file to (C, H, W).

        Raises:
            DataError: it is no whole image; the file is named.
        """
        try:
            with Image.open(path) as image:
                return self._square(image)
        except _FAILURES as error:
            raise _unreadable(path, error) from error

    def _square(self, image: Image.Image) -> NDArray[np.uint8]:
        scale = self.size / min(image.size)
        # a JPEG decodes to 1/2, 1/4 or 1/8 of its size at a fraction of the cost; never to less than is needed
        image.draft(self.mode, (math.ceil(image.width * scale), math.ceil(image.height * scale)))
        if image.mode.startswith("I;16"):  # convert() would cut off at 255
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.convert(self.mode).resize(
            (self.size, self.size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
        )
        return np.asarray(square).reshape(self.size, self.size, -1).transpose(2, 0, 1)


def decoder_like(paths: Iterable[str], image_size: int | None) -> Decoder:
    """A decoder for images like these: gray if all are, and as high as the first unless `image_size` says else.

    Raises:
        DataError: one is no image.
    """
    found = [_looked_at(path) for path in paths]
    return Decoder(image_size or found[0][0], "L" if all(gray for _, gray in found) else "RGB")


def _looked_at(path: str) -> tuple[int, bool]:
    """The height of an image, and whether it is gray."""
    try:
        with Image.open(path) as image:
            return image.height, image.mode in _GRAY
    except _FAILURES as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: BaseException) -> DataError:
    return DataError(f"{path}: expected a whole image, found: {error}; replace or delete it")
