"""Converts what the user's own data function returns (Datasets, DataLoaders or arrays) to an ImageData."""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from prunectl.data.folder import half_of_memory, stream_preprocessing
from prunectl.data.images import ImageData, Images, Preprocessing
from prunectl.data.items import Items, Reader, Shaper, batch_channels_first, kind, shaper_like
from prunectl.data.loader import MOST_BYTES, FloatImages
from prunectl.data.pixels import resized, statistics
from prunectl.data.source import NetworkInput, Progress
from prunectl.data.stream import Stream
from prunectl.errors import DataError, OptionError

_T = TypeVar("_T")
_OTHERS = (np.ndarray, Tensor, dict, str, bytes)
"""Types that have items but are no Dataset or DataLoader."""
_EVERY = 128
"""Items between two reports of progress."""
_NESTED = 8
"""Levels of nested Datasets that are searched for class names."""


def call(spec: str, loader: Any, *root: Any, **options: Any) -> Any:
    """Call the user's function with the arguments of a `Loader`, or without any, whichever it takes.

    Raises:
        OptionError: it is not a function, or takes other arguments.
    """
    try:
        signature = inspect.signature(loader)
    except (TypeError, ValueError):
        raise OptionError(f"`data` {spec}: expected a function, found {kind(loader)}") from None
    for positional, named in ((root, options), ((), {})):
        try:
            signature.bind(*positional, **named)
        except TypeError:
            continue
        return loader(*positional, **named)
    raise OptionError(
        f"`data` {spec}: expected a function without parameters, or of (root, *, image_size, download, progress), "
        f"found {signature}; add default values"
    )


def own_data(
    spec: str,
    returned: Any,
    *,
    image_size: int | None,
    progress: Progress | None,
    limit: int | None = None,
    network: NetworkInput | None = None,
) -> ImageData:
    """An ImageData unchanged, or one made of (train, test), each a Dataset, a DataLoader or (images, labels).

    PIL images are cropped to centred squares of `image_size`, else of the network's size, else as high as the first, by
    the network's resize rule. uint8 images keep their shape. Beyond `limit` bytes (None: half of the machine's memory)
    the images of a Dataset are read again each time. Floats are passed to the network as they are. Random numbers that
    a Dataset or a shuffling DataLoader draws from torch are the same in every command.

    Raises:
        DataError: it is something else, or must fit into memory and does not.
    """
    if isinstance(returned, ImageData):
        return returned
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise _other_form(spec, returned)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        parts = [_part(part, spec, name) for name, part in zip(("train", "test"), returned, strict=True)]
        probes = [image for part in parts if isinstance(part, Items) for image in part.probes()]
        shaper = _named(f"`data` {spec}", lambda: shaper_like(probes, image_size, network)) if probes else None
        most = half_of_memory() if limit is None else limit
        streamed = shaper is not None and not shaper.is_float and _bytes(parts, shaper) > most
        train, test = (_source(part, shaper, image_size, progress, streamed=streamed) for part in parts)
    if isinstance(train, FloatImages) != isinstance(test, FloatImages):
        raise DataError(f"`data` {spec}: one of train and test has floats, the other uint8; expected one kind")
    return ImageData(
        name=spec.rpartition(":")[2],
        train=train,
        test=test,
        classes=_classes(returned[0], 1 + max(int(part.labels.max()) for part in (train, test))),
        preprocessing=_preprocessing(train),
    )


@dataclass(frozen=True)
class _Whole:
    """Images (N, C, H, W), uint8 or float32, with labels."""

    images: Tensor
    labels: Tensor
    where: str


@dataclass(frozen=True)
class _Pairs:
    """A list of images with its labels, as a Dataset."""

    images: Sequence[Any]
    labels: Any

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return self.images[i], self.labels[i]


def _part(part: Any, spec: str, name: str) -> Items | _Whole:
    """A part in one of the two forms; data that is in memory anyway is read."""
    where = f"`data` {spec}: {name}"
    if isinstance(part, IterableDataset):
        raise DataError(f"{where}: found an IterableDataset; put a DataLoader around it")
    if isinstance(part, tuple | list):
        if len(part) != 2:
            raise _other_form(spec, part)
        images, labels = part
        if not isinstance(images, tuple | list | np.ndarray | Tensor) or not hasattr(labels, "__len__"):
            raise _other_form(spec, part)
        if len(images) != len(labels):
            raise DataError(f"{where} has {len(images)} images and {len(labels)} labels; expected one for each")
        if isinstance(images, np.ndarray | Tensor):
            return _named(where, lambda: _Whole(batch_channels_first(images), _labels(labels), where))
        part = _Pairs(images, labels)
    if hasattr(part, "__getitem__") and hasattr(part, "__len__") and not isinstance(part, _OTHERS):
        if not len(part):
            raise DataError(f"{where} has no item; expected images with labels")
        return Items(part, where)
    if isinstance(part, Iterable) and not isinstance(part, _OTHERS):
        return _named(where, lambda: _read_batches(part, where))
    raise _other_form(spec, part)


def _read_batches(loader: Iterable[Any], where: str) -> _Whole:
    """Everything that a DataLoader yields, in memory."""
    images: list[Tensor] = []
    labels: list[Tensor] = []
    for batch in loader:
        if not isinstance(batch, tuple | list) or len(batch) != 2 or not isinstance(batch[0], np.ndarray | Tensor):
            raise DataError(f"expected batches (images, labels), found {kind(batch)}")
        images.append(batch_channels_first(batch[0]))
        labels.append(_labels(batch[1]))
        if images[-1].shape[1:] != images[0].shape[1:] or images[-1].dtype != images[0].dtype:
            raise DataError(f"batches of {kind(images[0])} and of {kind(images[-1])}; expected one shape and type")
        _check_bytes(sum(each.nbytes for each in images))
    if not images:
        raise DataError("no batch; expected (images, labels)")
    return _Whole(torch.cat(images), torch.cat(labels), where)


def _source(
    part: Items | _Whole, shaper: Shaper | None, image_size: int | None, progress: Progress | None, *, streamed: bool
) -> Images | Stream:
    """The images of one part, in memory or read when they are needed."""
    if isinstance(part, _Whole):
        floats = part.images.is_floating_point()
        if floats and image_size is not None and part.images.shape[2:] != (image_size, image_size):
            raise DataError(f"{part.where}: `image_size` resizes uint8 images, found {kind(part.images)}")
        return _images(part.images if floats else resized(part.images, image_size), part.labels)
    assert shaper is not None  # made of the items of all parts
    reader = Reader(part, shaper)
    if streamed:
        return Stream(range(len(part)), torch.arange(len(part)), part.labels(), reader)
    if reader.shaper.is_float:
        _check_bytes(4 * len(part) * math.prod(reader.shape), f"{part.where}: ")
    kinds = torch.float32 if reader.shaper.is_float else torch.uint8
    pixels, labels = torch.empty((len(part), *reader.shape), dtype=kinds), torch.empty(len(part), dtype=torch.int64)
    for i in range(len(part)):
        pixels[i], labels[i] = reader.read(i)
        if progress is not None and ((i + 1) % _EVERY == 0 or i + 1 == len(part)):
            progress(i + 1, len(part))
    return _images(pixels, labels)


def _images(pixels: Tensor, labels: Tensor) -> Images:
    return FloatImages(pixels * 255, labels) if pixels.is_floating_point() else Images(pixels, labels)


def _bytes(parts: Iterable[Items | _Whole], shaper: Shaper) -> int:
    return sum(len(part) * math.prod(shaper.shape) for part in parts if isinstance(part, Items))


def _check_bytes(size: int, where: str = "") -> None:
    """Refuse floats or batches that do not fit into memory."""
    if size > MOST_BYTES:
        raise DataError(
            f"{where}more than {MOST_BYTES >> 30} GiB of floats or batches; return Datasets of PIL or uint8 images, "
            "which are read on demand"
        )


def _labels(labels: Any) -> Tensor:
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.size and (array.size != len(array) or not np.issubdtype(array.dtype, np.integer)):
        raise DataError(f"labels are {kind(array)}, expected whole numbers (N,)")
    return torch.from_numpy(array.reshape(-1).astype(np.int64))


def _classes(train: Any, count: int) -> tuple[str, ...]:
    """The names in `.classes` of a Dataset, also behind a DataLoader or Subset; else numbers."""
    for _ in range(_NESTED):
        names = getattr(train, "classes", None)
        if isinstance(names, list | tuple) and len(names) >= count:
            return tuple(str(name[0] if isinstance(name, tuple | list) and name else name) for name in names)
        train = getattr(train, "dataset", None)
    return tuple(map(str, range(count)))


def _preprocessing(train: Images | Stream) -> Preprocessing:
    if isinstance(train, FloatImages):
        return Preprocessing.unknown(train.shape[0])
    return stream_preprocessing(train) if isinstance(train, Stream) else statistics(train.pixels)


def _named(where: str, read: Callable[[], _T]) -> _T:
    """Read, and name the part in every error, also in those of foreign code."""
    try:
        return read()
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    except Exception as error:
        what = str(error).partition("\n")[0]
        raise DataError(f"{where}: {type(error).__name__}: {what}") from error


def _other_form(spec: str, found: Any) -> DataError:
    return DataError(
        f"`data` {spec}: expected the function to return ImageData, or (train, test), each a Dataset, a DataLoader or "
        f"(images, labels), found {kind(found)}; such as `return CIFAR10('.', train=True), CIFAR10('.', train=False)`"
    )
