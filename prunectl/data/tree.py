"""Lists a tree of image files with one folder per class."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from prunectl.data.split import DEFAULT_SPLIT, held_out
from prunectl.data.walk import Found, find_images, folders_above, identity
from prunectl.errors import DataError

_TEST_FOLDERS = ("test", "val", "valid")
_NAMED = 3
"""Files or classes that a notice names."""


@dataclass(frozen=True)
class Files:
    """Image files and the class of each, int64 of shape (N,)."""

    paths: tuple[str, ...]
    labels: Tensor


@dataclass(frozen=True)
class Tree:
    """The files to train on and to test on; classes are the folders in train/, by name.

    `split` is the share of each class that was held out for testing, None if the tree has its own test images.
    `notices` are sentences about unused parts of the tree.
    """

    root: Path
    classes: tuple[str, ...]
    train: Files
    test: Files
    split: float | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """The class folders of one part of a tree with their files, and links that lead back up."""

    folder: Path
    classes: Mapping[str, Found]
    loops: tuple[str, ...] = ()

    @property
    def images(self) -> dict[str, list[str]]:
        """The image files of every class that has any."""
        return {name: found.images for name, found in self.classes.items() if found.images}

    def notices(self) -> list[str]:
        """Sentences about files that are not images, and links that were not followed."""
        skipped = [path for found in self.classes.values() for path in found.skipped]
        loops = [*self.loops, *(path for found in self.classes.values() for path in found.loops)]
        notices = []
        if skipped:
            notices.append(f"{self.folder}: skipped {_files_in_words(len(skipped))} ({self._first(skipped)})")
        if loops:
            links = "1 link leads" if len(loops) == 1 else f"{len(loops)} links lead"
            notices.append(f"{self.folder}: {links} back to a folder above, not followed ({self._first(loops)})")
        again = [path for found in self.classes.values() for path in found.again]
        if again:
            links = (
                "1 link leads to a folder that is"
                if len(again) == 1
                else f"{len(again)} links lead to folders that are"
            )
            notices.append(f"{self.folder}: {links} read by another name, not followed ({self._first(again)})")
        return notices

    def left_out(self) -> list[str]:
        """A sentence about folders that are no class because they hold no image."""
        empty = [name for name, found in self.classes.items() if not found.images]
        if not empty:
            return []
        classes = (
            "1 class has no readable image and is"
            if len(empty) == 1
            else (f"{len(empty)} classes have no readable image and are")
        )
        return [f"{self.folder}: {classes} left out ({_first(empty)})"]

    def _first(self, paths: list[str]) -> str:
        return _first([os.path.relpath(path, self.folder) for path in paths])


def find_tree(root: Path, *, split: float | None = None, flat: bool = False) -> Tree:
    """List train/CLASS/ and test/CLASS/, or val/ or valid/ instead of test/, or val/ in the form of Tiny-ImageNet.

    Without a folder of test images, `split` of each class is held out, by default a tenth. `flat` allows CLASS/ in
    `root` itself.

    Raises:
        DataError: `root` is no such tree, has test classes without training images, or has test images and a `split`.
    """
    train = _train_part(root, flat=flat)
    if not train.images:
        raise DataError(
            f"no image folder at {root} (expected train/CLASS/*.jpg, and test/CLASS/*.jpg or val/CLASS/*.jpg, found no "
            "images in train/); pass its path as `data` imagefolder:PATH"
        )
    classes = tuple(train.images)
    if not _has_tests(root):
        return _split_tree(root, train, split)
    if split is not None:
        raise DataError(f"`split` {split:g}: {root} has its own test images; leave out `split`")
    test, notices = _test_files(root, frozenset(classes))
    unknown = sorted(test.keys() - train.images.keys())
    if unknown:
        raise DataError(
            f"{root}: expected the {len(classes)} classes of train/ only, found test images of {len(unknown)} others "
            f"({', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}); move or rename their folders"
        )
    notices = [*train.left_out(), *train.notices(), *notices, *_untested(root, classes, test)]
    return Tree(root, classes, _files(train.images, classes), _files(test, classes), notices=tuple(notices))


def classes_in(folder: Path) -> dict[str, list[str]]:
    """The image files below each folder in `folder`, sorted; folders without images, or an absent one, have none."""
    return _part(folder).images


def _train_part(root: Path, *, flat: bool) -> Part:
    """train/, or `root` itself if it has no train/ and no test images, but two classes or more."""
    if not flat or (root / "train").is_dir() or _has_tests(root):
        return _part(root / "train")
    part = _part(root)
    return part if len(part.images) > 1 else _part(root / "train")


def _part(folder: Path) -> Part:
    if not folder.is_dir():
        return Part(folder, {})
    above = folders_above(folder)
    items = [item for item in sorted(folder.iterdir()) if item.is_dir() and item.name[0] != "."]
    loops = tuple(str(item) for item in items if identity(item) in above)
    return Part(folder, {item.name: find_images(item, above) for item in items if str(item) not in loops}, loops)


def _has_tests(root: Path) -> bool:
    return any((root / name).is_dir() for name in _TEST_FOLDERS)


def _split_tree(root: Path, train: Part, split: float | None) -> Tree:
    """Hold out a share of the images of each class."""
    share = DEFAULT_SPLIT if split is None else split
    kept: dict[str, list[str]] = {}
    held: dict[str, list[str]] = {}
    for name, paths in train.images.items():
        train_on, test_on = held_out([os.path.relpath(path, root).replace(os.sep, "/") for path in paths], share)
        kept[name], held[name] = [paths[i] for i in train_on], [paths[i] for i in test_on]
    classes = tuple(train.images)
    notices = [*train.left_out(), *train.notices()]
    if split is None:
        notices.append(f"{root} has neither test/ nor val/: {share:.0%} of each class is held out (--split)")
    notices += _untested(root, classes, held)
    return Tree(root, classes, _files(kept, classes), _files(held, classes), share, tuple(notices))


def _untested(root: Path, classes: tuple[str, ...], test: Mapping[str, list[str]]) -> list[str]:
    """A sentence about classes without test images, unless none has any."""
    missing = [name for name in classes if not test.get(name)]
    if not missing or len(missing) == len(classes):
        return []
    return [f"{root}: {len(missing)} of {len(classes)} classes have no test images ({_first(missing)})"]


def _test_files(root: Path, known: frozenset[str]) -> tuple[Mapping[str, list[str]], list[str]]:
    """The test images by class, and notices, from the first folder with known classes: a test/ may lack labels."""
    annotations = root / "val" / "val_annotations.txt"
    if annotations.is_file():
        return _annotated(annotations), []
    strange: Mapping[str, list[str]] = {}
    for name in _TEST_FOLDERS:
        part = _part(root / name)
        if known & part.images.keys():
            return part.images, part.notices()
        strange = strange or part.images
    if not strange:
        raise DataError(
            f"no test images at {root} (expected test/CLASS/*.jpg or val/CLASS/*.jpg beside train/, found neither); "
            "move a part of each class of train/ there, or delete its empty folder and use `split` 0.1"
        )
    return strange, []


def _annotated(annotations: Path) -> dict[str, list[str]]:
    """Read Tiny-ImageNet's list of the files in val/images: name, class and four coordinates, separated by tabs."""
    found: dict[str, list[str]] = {}
    for line in annotations.read_text(encoding="utf-8").splitlines():
        name, tab, rest = line.partition("\t")
        if not tab:
            raise DataError(f"{annotations}: expected lines of FILE, tab, CLASS, found '{line}'; replace it")
        found.setdefault(rest.partition("\t")[0], []).append(str(annotations.parent / "images" / name))
    return found


def _files(found: Mapping[str, list[str]], classes: tuple[str, ...]) -> Files:
    """The files, in the order of the classes."""
    counts = torch.tensor([len(found.get(name, ())) for name in classes])
    paths = tuple(path for name in classes for path in found.get(name, ()))
    return Files(paths, torch.arange(len(classes)).repeat_interleave(counts))


def _files_in_words(count: int) -> str:
    return "1 file that is not an image" if count == 1 else f"{count:,} files that are not images"


def _first(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
