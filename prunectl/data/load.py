"""Loads datasets by name: each is a short file in `sets/` that returns a `prunectl.data.images.ImageData`.

A loader of your own, named `file.py:loader` or `package.module:loader`, is a function with the signature of
`prunectl.data.source.Loader`, or without parameters, that returns what `prunectl.data.own.own_data` takes.
"""

import inspect
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from prunectl.data import own
from prunectl.data.images import ImageData
from prunectl.data.source import NetworkInput, Progress, data_folder
from prunectl.data.split import check_split
from prunectl.errors import DataError, OptionError
from prunectl.plugins.places import placed
from prunectl.plugins.registry import names, resolve

RESIZABLE = frozenset({"digits", "imagefolder", "imagenette", "omniglot", "synthetic", "hf", "webdataset"})
"""Datasets without a fixed size: images are loaded in the size of the checkpoint's network."""

FOLDERLESS = frozenset({"digits", "synthetic"})


def load_data(
    spec: str,
    data_dir: str | Path | None = None,
    *,
    image_size: int | None = None,
    download: bool = False,
    progress: Progress | None = None,
    split: float | None = None,
    network: NetworkInput | None = None,
) -> ImageData:
    """Load the dataset that `spec` names: `name`, `name:PATH` (its own folder), or a loader such as `file.py:loader`.

    `data_dir` None means $PRUNECTL_DATA_DIR, else the user's cache folder. Without `image_size`, the dataset's loader
    chooses the size. `split` is the share of each class to hold out if a folder has no test images. `network` says what
    the images are for, for datasets that follow it.

    Raises:
        UnknownName: no dataset has that name.
        DataError: the data is missing, damaged, or cannot be downloaded.
    """
    if image_size is not None and image_size < 1:
        raise OptionError(f"`image_size` takes 1 pixel per side or more, got {image_size}")
    at = placed(spec)
    name, colon, place = at.partition(":")
    known = name in names("data")
    if known and colon and not place:
        raise OptionError(
            f"`data` {spec}: expected a folder after the colon, found nothing; write {name} or {name}:PATH"
        )
    shape = _shape(spec, place) if known and place and name == "synthetic" else None
    if known and place and name in FOLDERLESS and shape is None:
        raise OptionError(f"`data` {spec}: {name} has no folder; write {name}")
    loader: Any = resolve("data", name if known else at)
    named_folder = known and bool(place) and shape is None
    root = Path(place).expanduser() if named_folder else data_folder(None if data_dir is None else Path(data_dir))
    # a folder of many datasets may hold files with the names of this one's: only its own folder is searched directly
    extra = {"direct": named_folder or None, "split": split, "network": network, "shape": shape}
    taken = _parameters(loader)
    if split is not None:
        check_split(split)
        if "split" not in taken:
            raise OptionError(f"`split` {split:g}: {spec} has test images; leave out `split`")
    options: dict[str, Any] = {key: value for key, value in extra.items() if key in taken and value is not None}
    asked = {"image_size": image_size, "download": download, "progress": progress, **options}
    returned = loader(root, **asked) if known else own.call(spec, loader, root, **asked)
    data = _checked(spec, own.own_data(spec, returned, image_size=image_size, progress=progress, network=network))
    # the name alone would not find them again
    return data if data.name == spec else replace(data, changes=(("source", spec), *data.changes))


def _shape(spec: str, text: str) -> tuple[int, int, int]:
    """Read the CxHxW of synthetic images."""
    sides = text.split("x")
    if len(sides) != 3 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise OptionError(f"`data` {spec}: expected channels, height and width, as in synthetic:3x64x64")
    return int(sides[0]), int(sides[1]), int(sides[2])


def _parameters(loader: Any) -> Collection[str]:
    try:
        return inspect.signature(loader).parameters
    except (TypeError, ValueError):  # no function, which `own.call` refuses
        return ()


def _checked(spec: str, data: ImageData) -> ImageData:
    """Refuse invalid data from a loader early, before it fails far from its cause."""
    if not len(data.train) or not len(data.test):
        raise DataError(f"`data` {spec}: found {len(data.train)} training and {len(data.test)} test images; need both")
    if data.test.shape != data.train.shape:
        raise DataError(f"`data` {spec}: shapes differ: {data.train.shape} (train), {data.test.shape} (test)")
    channels = len(data.preprocessing.mean), len(data.preprocessing.std)
    if channels != (data.shape[0], data.shape[0]):
        raise DataError(
            f"`data` {spec}: images have {data.shape[0]} channels, but {channels[0]} means and {channels[1]} stds"
        )
    for labels in (data.train.labels, data.test.labels):
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(data.classes):
            raise DataError(f"`data` {spec}: expected labels 0 to {len(data.classes) - 1}, found {low} to {high}")
    return data
