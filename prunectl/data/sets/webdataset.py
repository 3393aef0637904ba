"""Tar files as the webdataset library writes them (https://github.com/webdataset/webdataset): KEY.jpg beside KEY.cls.

The standard library reads them at any position: opening them makes an index of the images.
"""

import glob
import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from prunectl.data.images import ImageData
from prunectl.data.own import own_data
from prunectl.data.source import NetworkInput, Progress
from prunectl.data.split import DEFAULT_SPLIT, held_out_of_classes
from prunectl.data.walk import SUFFIXES
from prunectl.errors import DataError, OptionError

_TESTS = ("test", "val", "valid", "validation")


def webdataset(
    root: Path,
    *,
    image_size: int | None,
    download: bool,
    progress: Progress | None,
    split: float | None = None,
    direct: bool = False,
    network: NetworkInput | None = None,
) -> ImageData:
    """Shards of images, such as `webdataset:DIR/{train,test}-{000..007}.tar` or `DIR/*.tar`; classes are numbers.

    Shards are for testing if their name has the word test, val, valid or validation, or if that is their folder's name;
    only those of the first word found are used. Without any, `split` of each class is held out, by default a tenth.
    """
    pattern = str(root)
    if not direct:
        raise OptionError("`data` webdataset: expected webdataset:PATTERN, such as 'webdataset:DIR/*.tar'")
    shards = sorted({path for expanded in _expanded(pattern) for path in glob.glob(expanded)})  # noqa: PTH207
    strange = next((shard for shard in shards if not Path(shard).is_file()), None)
    if strange is not None:
        raise DataError(f"{strange}: expected a tar file, found something else; use a pattern for tar files only")
    if not shards:
        raise DataError(f"no file matches {pattern}; use tar files, such as 'webdataset:DIR/{{train,test}}-*.tar'")
    kinds: dict[str, list[str]] = {}
    for shard in shards:
        kinds.setdefault(_kind(Path(shard)), []).append(shard)
    tests = [kind for kind in _TESTS if kind in kinds]
    if "train" not in kinds:
        raise DataError(f"{pattern} matches only {', '.join(tests)} shards; let it match training shards too")
    train = _samples(kinds["train"])
    name, where = Path(shards[0]).resolve().parent.name, f"webdataset:{pattern}"
    if tests:
        if split is not None:
            raise DataError(f"`split` {split:g}: {pattern} has shards of {tests[0]}; leave out `split`")
        both = train, _samples(kinds[tests[0]])
        data = own_data(where, both, image_size=image_size, progress=progress, network=network)
        unused = [f"{pattern}: shards of {kind} are not used" for kind in tests[1:]]
        return replace(data, name=name, notices=tuple(unused))
    share = DEFAULT_SPLIT if split is None else split
    names = [f"{Path(member.shard).name}/{member.name}" for member in train.members]
    parts = (train.take(part) for part in held_out_of_classes(names, train.targets, share))
    data = own_data(where, tuple(parts), image_size=image_size, progress=progress, network=network)
    notice = f"{pattern} has no test shards: {share:.0%} of each class is held out (--split)"
    return replace(data, name=name, changes=(("split", share),), notices=(notice,) if split is None else ())


@dataclass(frozen=True)
class _Member:
    """The place of an image's bytes in a tar file."""

    shard: str
    name: str
    offset: int
    size: int

    def open(self) -> Image.Image:
        with Path(self.shard).open("rb") as file:
            file.seek(self.offset)
            return Image.open(io.BytesIO(file.read(self.size)))


@dataclass(frozen=True)
class _Samples:
    """The images of some shards as a Dataset."""

    members: list[_Member]
    targets: list[int]

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, i: int) -> tuple[Image.Image, int]:
        return self.members[i].open(), self.targets[i]

    def take(self, positions: list[int]) -> "_Samples":
        return _Samples([self.members[i] for i in positions], [self.targets[i] for i in positions])


def _samples(shards: list[str]) -> _Samples:
    found = [sample for shard in shards for sample in _index(shard)]
    return _Samples([member for member, _ in found], [label for _, label in found])


def _index(shard: str) -> Iterator[tuple[_Member, int]]:
    """The images of one tar file with their labels, in the order of the file."""
    images: dict[str, _Member] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for item in archive:
                folder, _, base = item.name.rpartition("/")
                key, _, extension = base.partition(".")
                key = f"{folder}/{key}"
                if item.isfile() and f".{extension.lower()}" in SUFFIXES:
                    images.setdefault(key, _Member(shard, item.name, item.offset_data, item.size))
                elif item.isfile() and extension == "cls":
                    content = archive.extractfile(item)
                    labels[key] = int(content.read(_LONGEST)) if content is not None else -1
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"{shard}: expected a tar file with whole numbers in KEY.cls, found: {error}") from error
    unlabelled = [member.name for key, member in images.items() if key not in labels]
    if unlabelled or not images:
        what = f"{len(unlabelled)} images without one ({unlabelled[0]})" if unlabelled else "no image"
        raise DataError(f"{shard}: expected images such as KEY.jpg, each with KEY.cls, found {what}")
    return iter([(member, labels[key]) for key, member in images.items()])


_LONGEST = 32  # digits of a label


def _kind(shard: Path) -> str:
    """The part of the dataset named in a shard's file name, else by its folder, else train."""
    words = [*re.split(r"[^a-z]+", shard.name.lower()), shard.parent.name.lower()]
    return next((word for word in words if word in (*_TESTS, "train")), "train")


def _expanded(pattern: str) -> Iterator[str]:
    """All texts that a pattern with {a,b} and {000..007} expands to."""
    braces = re.search(r"\{([^{}]*)\}", pattern)
    if braces is None:
        yield pattern
        return
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", braces[1])
    if numbers is None:
        choices = braces[1].split(",")
    else:
        width, last = len(numbers[1]), min(int(numbers[2]), int(numbers[1]) + _MOST_SHARDS)
        choices = [f"{i:0{width}}" for i in range(int(numbers[1]), last + 1)]
    for choice in choices:
        yield from _expanded(before + choice + after)


_MOST_SHARDS = 100_000
