"""A tree of image files, one folder a class."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from prunectl.errors import DataError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_TEST_FOLDERS = ("test", "val", "valid")


@dataclass(frozen=True)
class Files:
    """Image files and the class of each, int64 of shape (N,)."""

    paths: tuple[str, ...]
    labels: Tensor


@dataclass(frozen=True)
class Tree:
    """The files to train on and to test on; classes are the folders in train/, by name."""

    root: Path
    classes: tuple[str, ...]
    train: Files
    test: Files


def find_tree(root: Path) -> Tree:
    """List train/CLASS/ and test/CLASS/, or val/ or valid/ in place of test/, or val/ as Tiny-ImageNet has it.

    Raises:
        DataError: `root` is no such tree, or it tests classes that it does not train.
    """
    train = classes_in(root / "train")
    if not train:
        raise DataError(
            f"no image folder at {root} (expected train/CLASS/*.jpg, and test/CLASS/*.jpg or val/CLASS/*.jpg, found no "
            "images in train/); give its place as --data imagefolder:PATH"
        )
    classes = tuple(train)
    test = _test_files(root, frozenset(classes))
    unknown = sorted(test.keys() - train.keys())
    if unknown:
        raise DataError(
            f"{root}: expected the {len(classes)} classes of train/ only, found test images of {len(unknown)} others "
            f"({', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}); move or rename their folders"
        )
    return Tree(root, classes, _files(train, classes), _files(test, classes))


def classes_in(folder: Path) -> dict[str, list[str]]:
    """The image files below each folder in `folder`, sorted; none for a folder without images or that is absent."""
    if not folder.is_dir():
        return {}
    found = {item.name: _images(item) for item in sorted(folder.iterdir()) if item.is_dir() and item.name[0] != "."}
    return {name: paths for name, paths in found.items() if paths}


def _test_files(root: Path, known: frozenset[str]) -> Mapping[str, list[str]]:
    """The test images by class: of the first folder that has known classes, since a test/ can lack labels."""
    annotations = root / "val" / "val_annotations.txt"
    if annotations.is_file():
        return _annotated(annotations)
    strange: Mapping[str, list[str]] = {}
    for name in _TEST_FOLDERS:
        found = classes_in(root / name)
        if known & found.keys():
            return found
        strange = strange or found
    if not strange:
        raise DataError(
            f"no test images at {root} (expected test/CLASS/*.jpg or val/CLASS/*.jpg beside train/, found neither); "
            "move a part of each class of train/ to there"
        )
    return strange


def _annotated(annotations: Path) -> dict[str, list[str]]:
    """Read Tiny-ImageNet's list of the files in val/images: name, class and four coordinates, between tabs."""
    found: dict[str, list[str]] = {}
    for line in annotations.read_text(encoding="utf-8").splitlines():
        name, tab, rest = line.partition("\t")
        if not tab:
            raise DataError(f"{annotations}: expected lines of FILE, tab, CLASS, found '{line}'; replace it")
        found.setdefault(rest.partition("\t")[0], []).append(str(annotations.parent / "images" / name))
    return found


def _images(folder: Path) -> list[str]:
    return sorted(
        os.path.join(place, name)  # noqa: PTH118  (a million times: Path costs ten times as much)
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(_SUFFIXES) and name[0] != "."
    )


def _files(found: Mapping[str, list[str]], classes: tuple[str, ...]) -> Files:
    """Bring the files in the order of the classes."""
    counts = torch.tensor([len(found.get(name, ())) for name in classes])
    paths = tuple(path for name in classes for path in found.get(name, ()))
    return Files(paths, torch.arange(len(classes)).repeat_interleave(counts))
