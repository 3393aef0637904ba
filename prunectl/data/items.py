"""Converts the images of a Dataset, of any kind, to pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from prunectl.data.decode import FAILURES, Decoder, is_gray, usual_height
from prunectl.data.pixels import resized
from prunectl.data.source import NetworkInput
from prunectl.errors import DataError

_CHANNELS = ((1, 3), (2, 4))
"""Possible numbers of channels, likely ones first."""
_PROBED = 16


@dataclass(frozen=True)
class Shaper:
    """Converts images to one shape (C, H, W): PIL images by a decoder, uint8 arrays by resizing, floats unchanged."""

    shape: tuple[int, int, int]
    is_float: bool = False
    decoder: Decoder | None = None
    resizes: bool = False

    def __call__(self, image: Any) -> Tensor:
        """The image as uint8 pixels, or as the floats that it holds.

        Raises:
            DataError: it is of another kind or shape than the first image.
        """
        if isinstance(image, Image.Image) and self.decoder is not None:
            try:
                return torch.tensor(self.decoder.decode(image))
            except FAILURES as error:
                raise DataError(f"found an image that is not whole: {error}") from error
        if isinstance(image, Image.Image) or self.decoder is not None:
            raise DataError(
                f"found {kind(image)} beside {'PIL images' if self.decoder else 'arrays'}; expected one kind"
            )
        pixels = channels_first(image)
        if pixels.is_floating_point() != self.is_float:
            raise DataError(f"found {kind(image)} beside {'floats' if self.is_float else 'uint8'}; expected one kind")
        if self.resizes and not self.is_float:
            pixels = resized(pixels[None], self.shape[1])[0]
        if pixels.shape != self.shape:
            raise DataError(f"found {kind(image)}, expected {self.shape} like the first; resize it, or use PIL images")
        return pixels


def shaper_like(images: Sequence[Any], image_size: int | None, network: NetworkInput | None = None) -> Shaper:
    """A Shaper for images like these: to `image_size`, else the network's size, else that of most, or of the first.

    Only PIL images follow the network, and may have several sizes; they become gray if all of these are.

    Raises:
        DataError: they are neither PIL images nor arrays, or floats of another size.
    """
    first = images[0]
    if isinstance(first, Image.Image):
        gray = all(isinstance(image, Image.Image) and is_gray(image) for image in images)
        mode: Literal["L", "RGB"] = "L" if gray else "RGB"
        rule = () if network is None else (network.crop, network.interpolation)
        heights = [image.height for image in images if isinstance(image, Image.Image)]
        follows = network is not None and network.shape[1] == network.shape[2]
        own = network.shape[1] if network is not None and follows else usual_height(heights)
        decoder = Decoder(image_size or own, mode, *rule)
        return Shaper(decoder.shape, decoder=decoder)
    pixels = channels_first(first)
    channels, height, width = pixels.shape
    if image_size is None:
        return Shaper((channels, height, width), pixels.is_floating_point())
    if pixels.is_floating_point() and (height, width) != (image_size, image_size):
        raise DataError(f"`image_size` resizes PIL and uint8 images, found {kind(first)}; resize it in the Dataset")
    return Shaper((channels, image_size, image_size), pixels.is_floating_point(), resizes=True)


@dataclass(frozen=True)
class Items:
    """The items (image, label) of a map-style Dataset; `where` names it. Runs in worker processes."""

    dataset: Any
    where: str

    def __len__(self) -> int:
        return len(self.dataset)

    def item(self, i: int) -> tuple[Any, int]:
        """Image and label at position `i`.

        Raises:
            DataError: the Dataset fails, or the item is something else.
        """
        try:
            found = self.dataset[i]
        except Exception as error:  # foreign code: its failure becomes one line, also from a worker
            what = str(error).partition("\n")[0]
            raise DataError(f"{self.where}, item {i}: {type(error).__name__}: {what}") from error
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise DataError(f"{self.where}, item {i}: expected (image, label), found {kind(found)}")
        return found[0], self._label(found[1], i)

    def probes(self) -> list[Any]:
        """Some images, spread evenly."""
        count = min(len(self), _PROBED)
        return [self.item(i * len(self) // count)[0] for i in range(count)]

    def labels(self) -> Tensor:
        """All labels: the Dataset's `targets` if the first items agree with them, else read from every item."""
        targets = getattr(self.dataset, "targets", None)
        if isinstance(targets, list | tuple | np.ndarray | Tensor) and len(targets) == len(self):
            step = max(1, len(self) // _PROBED)
            known = [self._label(target, i) for i, target in enumerate(targets)]
            if all(known[i] == self.item(i)[1] for i in range(0, len(self), step)):
                return torch.tensor(known)
        return torch.tensor([self.item(i)[1] for i in range(len(self))])

    def _label(self, value: Any, i: int) -> int:
        try:
            return whole_number(value)
        except DataError as error:
            raise DataError(f"{self.where}, item {i}: {error}") from error


@dataclass(frozen=True)
class Reader:
    """Reads position `i` of a Dataset in one shape, like `prunectl.data.decode.Decoder` for files."""

    items: Items
    shaper: Shaper

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        return self.shaper.shape

    def read(self, i: int) -> tuple[Tensor, int]:
        """Pixels and label.

        Raises:
            DataError: as `Items.item` and `Shaper`; names the item.
        """
        image, label = self.items.item(i)
        try:
            return self.shaper(image), label
        except DataError as error:
            raise DataError(f"{self.items.where}, item {i}: {error}") from error

    def __call__(self, i: int) -> NDArray[np.uint8]:
        """Only the pixels."""
        return self.read(i)[0].numpy()


def channels_first(image: Any) -> Tensor:
    """An array of one image, (H, W), (H, W, C) or (C, H, W), as a tensor (C, H, W), uint8 or float32.

    Raises:
        DataError: it is not such an array.
    """
    if not isinstance(image, np.ndarray | Tensor) or image.ndim not in (2, 3):
        raise DataError(f"found {kind(image)}; expected a PIL image, or an array (H, W), (H, W, C) or (C, H, W)")
    return batch_channels_first(image[None])[0]


def batch_channels_first(images: NDArray[Any] | Tensor) -> Tensor:
    """An array (B, H, W), (B, H, W, C) or (B, C, H, W) as a tensor (B, C, H, W), uint8 or float32.

    The channel axis has 1 or 3 entries, else 2 or 4; tensors prefer the second axis, arrays the last.

    Raises:
        DataError: it is not such an array.
    """
    array = isinstance(images, np.ndarray)
    pixels = torch.from_numpy(np.ascontiguousarray(images)) if array else torch.as_tensor(images).detach().cpu()
    if not (pixels.dtype == torch.uint8 or pixels.is_floating_point()):
        raise DataError(f"found {kind(images)}; expected images of uint8 or floats")
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    axes = (3, 1) if array and images.ndim == 4 else (1, 3)
    found = [axis for sizes in _CHANNELS for axis in axes if pixels.ndim == 4 and pixels.shape[axis] in sizes]
    if not found:
        raise DataError(f"found {kind(images)}; expected images (N, H, W), (N, H, W, C) or (N, C, H, W), C from 1 to 4")
    pixels = pixels.movedim(found[0], 1).contiguous()
    return pixels.float() if pixels.is_floating_point() else pixels


def whole_number(value: Any) -> int:
    """A label: an int, or an array of one.

    Raises:
        DataError: it is something else.
    """
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.size != 1 or not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"expected a whole number as label, found {kind(value)}")
    return int(array.item())


def kind(value: Any) -> str:
    """What a value is, with its shape or length where it has one."""
    if isinstance(value, np.ndarray | Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, tuple | list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
