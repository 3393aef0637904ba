"""Files in the formats of datasets, small and of known content."""

import gzip
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def idx_bytes(array: Tensor, magic: int | None = None) -> bytes:
    head = [magic or 0x0800 + array.ndim, *array.shape]
    return b"".join(number.to_bytes(4, "big") for number in head) + bytes(array.to(torch.uint8).flatten().tolist())


def write_family(place: Path, zipped: bool = False, first_label: int = 0, side: int = 28) -> None:
    """Ten images to train on and four to test on; image i is all i + first_label, its label."""
    place.mkdir(parents=True)
    for part, count in (("train", 10), ("t10k", 4)):
        labels = (torch.arange(count) + first_label) % 10
        images = labels.view(-1, 1, 1).expand(-1, side, side)
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            data = idx_bytes(array)
            (place / (name + ".gz" if zipped else name)).write_bytes(gzip.compress(data, mtime=0) if zipped else data)


def write_tree(
    root: Path,
    classes: tuple[str, ...] = ("cat", "dog"),
    test: str = "test",
    size: tuple[int, int] = (8, 8),
    mode: str = "RGB",
    suffix: str = "png",
) -> Path:
    """Two images a class to train on, one to test on; each of one colour, 10 steps brighter than the one before."""
    level = 0
    for part, count in (("train", 2), (test, 1)):
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                level += 10
                Image.new("L", size, level % 256).convert(mode).save(root / part / name / f"{i}.{suffix}")
    return root


def patch_torchvision(monkeypatch: pytest.MonkeyPatch, title: str, fake: object) -> None:
    monkeypatch.setattr(f"torchvision.datasets.{title}", fake)
