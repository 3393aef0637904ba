"""Datasets of the Hugging Face hub, or of a folder, read by the `datasets` library, which keeps them on disk."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prunectl.data.images import ImageData
from prunectl.data.own import own_data
from prunectl.data.source import NetworkInput, Progress
from prunectl.data.split import DEFAULT_SPLIT, held_out_of_classes
from prunectl.errors import DataError, OptionError

_TESTS = ("test", "validation", "valid", "val")


def hf(
    root: Path,
    *,
    image_size: int | None,
    download: bool,
    progress: Progress | None,
    split: float | None = None,
    direct: bool = False,
    network: NetworkInput | None = None,
) -> ImageData:
    """A dataset of the Hugging Face hub, such as `hf:uoft-cs/cifar10`, or a folder that `datasets` reads.

    It must have one column of images and one of labels.

    The test images are the first split of test, validation, valid and val that has labels; without any, `split` of each
    class is held out, by default a tenth.
    """
    name = str(root)
    if not direct:
        raise OptionError("`data` hf: expected hf:NAME, such as hf:uoft-cs/cifar10")
    splits = _splits(name, download=download)
    if "train" not in splits:
        raise DataError(f"hf:{name}: expected a split named train, found {', '.join(splits)}")
    train, tests = splits["train"], [splits[each] for each in _TESTS if each in splits]
    test = next((rows for rows in tests if min(rows.targets, default=-1) >= 0), None)
    where = f"hf:{name}"
    if test is not None:
        if split is not None:
            raise DataError(f"`split` {split:g}: hf:{name} has its own test images; leave out `split`")
        data = own_data(where, (train, test), image_size=image_size, progress=progress, network=network)
        return replace(data, name=root.name)
    share = DEFAULT_SPLIT if split is None else split
    kept, held = held_out_of_classes([str(i) for i in range(len(train))], train.targets, share)
    both = train.take(kept), train.take(held)
    data = own_data(where, both, image_size=image_size, progress=progress, network=network)
    notice = (
        (f"hf:{name} has no test images: {share:.0%} of each class is held out (--split)",) if split is None else ()
    )
    return replace(data, name=root.name, changes=(("split", share),), notices=notice)


@dataclass(frozen=True)
class _Rows:
    """A split as a Dataset of (image, label)."""

    split: Any
    image: str
    classes: tuple[str, ...]
    targets: list[int]
    positions: Sequence[int]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        return self.split[self.positions[i]][self.image], self.targets[i]

    def take(self, positions: list[int]) -> "_Rows":
        return replace(self, targets=[self.targets[i] for i in positions], positions=positions)


def _rows(name: str, split: Any) -> _Rows:
    """The columns of images and labels, by their types."""
    from datasets import ClassLabel, Image  # noqa: PLC0415

    features = split.features
    images = [column for column, feature in features.items() if isinstance(feature, Image)]
    labels = [column for column, feature in features.items() if isinstance(feature, ClassLabel)]
    labels = labels or [
        column for column in ("label", "labels") if "int" in str(getattr(features.get(column), "dtype", ""))
    ]
    if len(images) != 1 or not labels:
        raise DataError(f"hf:{name}: expected one column of images and one of labels, found {', '.join(features)}")
    feature = features[labels[0]]
    names = tuple(feature.names) if isinstance(feature, ClassLabel) else ()
    only = split.select_columns([images[0]])
    targets = [-1 if label is None else label for label in split[labels[0]]]
    return _Rows(only, images[0], names, targets, range(len(targets)))


def _splits(name: str, *, download: bool) -> dict[str, _Rows]:
    """All splits of a dataset, from the library's cache or, if allowed, from the network."""
    try:
        import datasets  # noqa: PLC0415
    except ImportError as error:
        raise DataError(f"hf:{name} needs the package datasets: pip install 'prunectl[hf-data]'") from error
    try:
        with _quiet(datasets, offline=not download):
            loaded = datasets.load_dataset(name)
            wanted = {key: split for key, split in loaded.items() if key in ("train", *_TESTS)}
            return {key: _rows(name, split) for key, split in wanted.items()}
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        what = " ".join(str(error).split())
        hint = "check the name and the network" if download else "add `download`, or use a folder"
        raise DataError(f"hf:{name}: cannot be loaded: {what}; {hint}") from error


@contextmanager
def _quiet(datasets: Any, *, offline: bool) -> Iterator[None]:
    """Suppress bars and warnings, and the network if `offline`."""
    before = datasets.config.HF_HUB_OFFLINE
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    datasets.config.HF_HUB_OFFLINE = before or offline
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
