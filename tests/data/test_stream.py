"""Images that stay on disk give the batches that they give in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from prunectl.data import folder
from prunectl.data.images import ImageData, Images
from prunectl.data.sets.imagefolder import imagefolder
from prunectl.data.stream import Stream
from prunectl.errors import DataError
from tests.helpers.dataset_files import write_tree

# DataLoader forks; Python 3.12 and later say that threads may not survive that, and none of ours is needed there
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def both(tmp_path: Path) -> tuple[ImageData, ImageData]:
    """One tree, in memory and as a stream."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 7), ("test", 3)):
        for name in ("a", "b"):
            (tmp_path / "tree" / part / name).mkdir(parents=True)
            for i in range(count):
                picture = rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)
                Image.fromarray(picture).save(tmp_path / "tree" / part / name / f"{i}.jpg")
    memory, stream = (
        imagefolder(tmp_path / "tree", image_size=12, download=False, progress=None, limit=limit) for limit in (None, 0)
    )
    assert isinstance(memory.train, Images)
    assert isinstance(stream.train, Stream)
    return memory, stream


def same_batches(first: Iterator[tuple[Tensor, Tensor]], second: Iterator[tuple[Tensor, Tensor]]) -> int:
    count = 0
    for (pixels, labels), (other, other_labels) in zip(first, second, strict=True):
        assert pixels.equal(other)
        assert labels.equal(other_labels)
        count += 1
    return count


def test_a_stream_equals_what_is_in_memory(both: tuple[ImageData, ImageData]) -> None:
    memory, stream = both
    assert (stream.shape, stream.classes, stream.augment) == (memory.shape, memory.classes, memory.augment)
    assert (len(stream.train), len(stream.test)) == (14, 6)
    assert stream.preprocessing.mean == (0.485, 0.456, 0.406)
    options: dict[str, Any] = {"seed": 3, "augment": ("flip", "crop")}
    assert same_batches(memory.train.batches(4), stream.train.batches(4)) == 4
    assert same_batches(memory.train.batches(4, **options), stream.train.batches(4, **options)) == 4
    assert same_batches(memory.train.batches(4, start=2, **options), stream.train.batches(4, start=2, **options)) == 2
    assert same_batches(memory.train.batches(13, **options), stream.train.batches(13, **options)) == 1
    assert same_batches(memory.train.batches(4, start=9), stream.train.batches(4, start=9)) == 0


def test_a_stream_is_split_and_relabelled_alike(both: tuple[ImageData, ImageData]) -> None:
    tuned, streamed = (data.tuning().subset(6, seed=1).random_labels(seed=2) for data in both)
    assert streamed.train.labels.tolist() == tuned.train.labels.tolist()
    assert same_batches(tuned.train.batches(6), streamed.train.batches(6)) == 1
    assert same_batches(tuned.test.batches(2), streamed.test.batches(2)) == 1
    assert streamed.to(torch.device("meta")).train.labels.device.type == "meta"
    with pytest.raises(DataError, match="got 5 labels, 6 images"):
        streamed.train.relabel(torch.zeros(5, dtype=torch.int64))


def test_a_stream_leaves_the_random_state_alone(both: tuple[ImageData, ImageData]) -> None:
    before = torch.get_rng_state()
    next(both[1].train.batches(4, seed=1, augment=("flip",)))  # and workers end with it
    assert torch.get_rng_state().equal(before)


def test_what_fits_depends_on_the_machine_alone() -> None:
    assert folder.half_of_memory() == folder.half_of_memory() > 100_000_000


def test_a_gray_stream(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "gray", mode="L")
    data = imagefolder(root, image_size=None, download=False, progress=None, limit=0)
    assert (data.shape, data.preprocessing.mean, data.augment) == ((1, 8, 8), (0.449,), ())
