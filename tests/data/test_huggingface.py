"""Datasets that the `datasets` library reads, from a folder and without the network."""

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from prunectl.data import own
from prunectl.data.images import Images
from prunectl.data.load import load_data
from prunectl.data.stream import Stream
from prunectl.errors import DataError, OptionError
from tests.helpers.dataset_files import one_line, write_tree

datasets = pytest.importorskip("datasets", reason="prunectl[hf-data] is not installed")

pytestmark = [
    # DataLoader forks; Python 3.12 and later say that threads may not survive that, and none of ours is needed there
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf-cache")


def no_network(*_: Any) -> None:
    raise AssertionError("the network was used")


def write(folder: Path, named: bool = True, **splits: list[int]) -> Path:
    """Image i of a split is of level 10 i; the labels are given."""
    label = datasets.ClassLabel(names=["cat", "dog"]) if named else datasets.Value("int64")
    features = datasets.Features({"id": datasets.Value("string"), "img": datasets.Image(), "label": label})
    for name, labels in splits.items():
        pictures = [Image.new("RGB", (4, 4), (10 * i,) * 3) for i in range(len(labels))]
        rows = {"id": ["x"] * len(labels), "img": pictures, "label": labels}
        (folder / "data").mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "data" / f"{name}-00000.parquet")
    return folder


def test_a_dataset_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", no_network)
    root = write(tmp_path / "pets", train=[0, 1, 1, 0, 1], test=[1, 0])
    data = load_data(f"hf:{root}")
    assert (data.name, data.shape, data.classes) == ("pets", (3, 4, 4), ("cat", "dog"))
    assert data.train.labels.tolist() == [0, 1, 1, 0, 1]
    assert data.train.pixels[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40]
    assert data.test.labels.tolist() == [1, 0]
    assert data.described == {"name": "pets", "source": f"hf:{root}"}
    assert load_data(f"hf:{root}", image_size=6).shape == (3, 6, 6)


def test_a_test_split_without_labels_is_passed_over(tmp_path: Path) -> None:
    root = write(tmp_path / "pets", named=False, train=[0, 1], test=[-1, -1, -1], validation=[1])
    data = load_data(f"hf:{root}")
    assert (data.classes, data.test.labels.tolist()) == (("0", "1"), [1])


def test_a_part_of_each_class_is_held_out(tmp_path: Path) -> None:
    root = write(tmp_path / "pets", train=[0, 1] * 10)
    data = load_data(f"hf:{root}", split=0.2)
    assert data.described == {"name": "pets", "source": f"hf:{root}", "split": 0.2}
    assert (data.test.labels.bincount().tolist(), data.notices) == ([2, 2], ())
    seen = [*data.train.pixels[:, 0, 0, 0].tolist(), *data.test.pixels[:, 0, 0, 0].tolist()]
    assert sorted(seen) == list(range(0, 200, 10))
    assert "has no test images: 10% of each class is held out (--split)" in load_data(f"hf:{root}").notices[0]


def test_what_does_not_fit_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "pets", train=[0, 1] * 10, test=[0, 1])
    memory = load_data(f"hf:{root}")
    monkeypatch.setattr(own, "half_of_memory", lambda: 100)
    stream = load_data(f"hf:{root}")
    assert isinstance(memory.train, Images)
    assert isinstance(stream.train, Stream)
    for one, other in zip(memory.train.batches(8, seed=1), stream.train.batches(8, seed=1), strict=True):
        assert one[0].equal(other[0])
        assert one[1].equal(other[1])


def test_a_folder_of_images_as_the_library_reads_it(tmp_path: Path) -> None:
    data = load_data(f"hf:{write_tree(tmp_path / 'pets')}")
    assert (data.classes, data.train.labels.tolist()) == (("cat", "dog"), [0, 0, 1, 1])


def test_nothing_is_fetched_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(DataError) as error:
        load_data("hf:nobody/nothing-of-that-name")
    assert one_line(error).startswith("hf:nobody/nothing-of-that-name: cannot be loaded: ")
    assert one_line(error).endswith("; add `download`, or use a folder")
    assert not datasets.config.HF_HUB_OFFLINE


def test_what_is_no_dataset_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "train.csv").write_text("a,label\n1,2\n")
    with pytest.raises(DataError) as error:
        load_data(f"hf:{tmp_path}/text")
    assert "expected one column of images and one of labels, found a, label" in one_line(error)
    with pytest.raises(DataError, match="expected a split named train, found test"):
        load_data(f"hf:{write(tmp_path / 'tests', test=[0, 1])}")
    with pytest.raises(DataError, match=r"`split` 0.2: hf:.* has its own test images"):
        load_data(f"hf:{write(tmp_path / 'pets', train=[0, 1], test=[0])}", split=0.2)
    with pytest.raises(OptionError, match="expected hf:NAME, such as hf:uoft-cs/cifar10"):
        load_data("hf", tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'prunectl\[hf-data\]'"):
        load_data("hf:anything")
