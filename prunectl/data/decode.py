"""Decodes image files to pixels of one size."""

import math
import os
import stat
import statistics
import struct
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prunectl.errors import DataError

FAILURES = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises if a file is not a whole image."""
MOST_HIGH = 1024
"""The default side of images, in pixels."""
MOST_PIXELS = 2**26
"""Most pixels of one image, so that decoding it takes some hundred megabytes, whatever its file declares."""
_GRAY = ("1", "L", "LA", "I;16", "I;16B", "I")
_ORIENTATION = 0x0112  # of EXIF
_WITH_ORIENTATION = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
"""Keys of Pillow's `info` that may hold an orientation."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that undoes each EXIF orientation; 5 and above swap width and height."""
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Decoder:
    """Reads an image file, takes the central square and resizes it to `size` pixels a side, in gray or in colour.

    With `crop` below 1 or another interpolation it follows ImageNet's evaluation rule, to the pixel: resize the shorter
    side to `size` / `crop`, then crop the central `size` x `size`.
    """

    size: int
    mode: Literal["L", "RGB"]
    crop: float = 1.0
    interpolation: str = "bilinear"

    def __repr__(self) -> str:
        """The text that names a cache; it must not change for the rule that came first."""
        rule = "" if self._takes_square else f", crop={self.crop!r}, interpolation={self.interpolation!r}"
        return f"Decoder(size={self.size!r}, mode={self.mode!r}{rule})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the decoded images."""
        return len(self.mode), self.size, self.size

    @property
    def _takes_square(self) -> bool:
        return self.crop == 1 and self.interpolation == "bilinear"

    def __call__(self, path: str) -> NDArray[np.uint8]:
        """Decode one file to (C, H, W).

        Raises:
            DataError: it is not a whole image; the file is named.
        """
        try:
            with _opened(path) as image:
                return self.decode(image)
        except FAILURES as error:
            raise _unreadable(path, error) from error

    def decode(self, image: Image.Image) -> NDArray[np.uint8]:
        """Convert an open image to (C, H, W)."""
        if self._takes_square:
            scale = self.size / min(image.size)
            # a JPEG decodes to 1/2, 1/4 or 1/8 of its size at a fraction of the cost; never to less than is needed
            image.draft(self.mode, (math.ceil(image.width * scale), math.ceil(image.height * scale)))
        image = in_eight_bits(upright(image)).convert(self.mode)
        square = self._square(image) if self._takes_square else self._cropped(image)
        return np.asarray(square).reshape(self.size, self.size, -1).transpose(2, 0, 1)

    def _square(self, image: Image.Image) -> Image.Image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        return image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box)

    def _cropped(self, image: Image.Image) -> Image.Image:
        short = math.floor(self.size / self.crop + 1e-6)  # 224 / (224 / 232) is 232 or a bit less
        width, height = (max(short, int(short * side / min(image.size))) for side in image.size)
        _check_pixels(width, height)
        image = image.resize((width, height), INTERPOLATIONS[self.interpolation])
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        return image.crop((left, top, left + self.size, top + self.size))


def decoder_like(
    paths: Iterable[str],
    image_size: int | None,
    crop: float = 1.0,
    interpolation: str = "bilinear",
    *,
    more: Iterable[str] = (),
) -> Decoder:
    """A decoder for images like these: gray if all are, and of `image_size`, else as high as most of them.

    Only the heights of `more` are read.

    Raises:
        DataError: one is not an image.
    """
    found = [_looked_at(path) for path in paths]
    mode: Literal["L", "RGB"] = "L" if all(gray for _, gray in found) else "RGB"
    if image_size is None:
        heights = [height for height, _ in [*found, *(_looked_at(path) for path in more)]]
        image_size = usual_height(heights)
    return Decoder(image_size, mode, crop, interpolation)


def usual_height(heights: Sequence[int]) -> int:
    """The height of more than half of the images, else the median; `MOST_HIGH` at most.

    Between two middle heights, it takes the lower.
    """
    height, count = Counter(heights).most_common(1)[0]
    usual = height if 2 * count > len(heights) else statistics.median_low(heights)
    return min(usual, MOST_HIGH)


def is_gray(image: Image.Image) -> bool:
    """Whether an image has no colour."""
    return image.mode in _GRAY


def upright(image: Image.Image) -> Image.Image:
    """The image rotated as its EXIF data says; TIFF files are rotated when they are loaded.

    Raises:
        ValueError: it has more than `MOST_PIXELS`.
    """
    _check_pixels(*image.size)
    image.load()
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """The orientation from EXIF or XMP; 1 if there is none or it cannot be read."""
    if image.info.keys().isdisjoint(_WITH_ORIENTATION):  # getexif() costs a tenth of decoding 32x32 pixels
        return 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = image.getexif().get(_ORIENTATION, 1)
    except (*FAILURES, TypeError, LookupError):
        return 1
    return found if isinstance(found, int) else 1


def in_eight_bits(image: Image.Image) -> Image.Image:
    """The upper eight bits of 16-bit gray levels, which convert() would clip at 255.

    Raises:
        ValueError: it has 32 bits, whose range is unknown.
    """
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PPM", "PNG")):
        raise ValueError("32-bit gray levels; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image


def _check_pixels(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise ValueError(f"{width} x {height} pixels, more than the limit of {MOST_PIXELS:,}")


def _opened(path: str) -> Image.Image:
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  (a pipe would block the reader)
        raise OSError("not a regular file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about truncated EXIF
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `MOST_PIXELS` is lower
        return Image.open(path)


def _looked_at(path: str) -> tuple[int, bool]:
    """The height of an image, and whether it is gray."""
    try:
        with _opened(path) as image:
            turned = image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8)
            return image.width if turned else image.height, is_gray(image)
    except FAILURES as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: BaseException) -> DataError:
    what = error.strerror if isinstance(error, OSError) and error.strerror else error
    return DataError(f"{path}: expected a whole image, found: {what}; replace or delete it")
