"""The files of MNIST and its like: read, resized, damaged, downloaded."""

import gzip
import os
import zlib
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from prunectl.data.load import load_data
from prunectl.data.pixels import statistics
from prunectl.data.sets import idx
from prunectl.data.source import cache_folder
from prunectl.errors import DataError
from tests.helpers.dataset_files import idx_bytes, one_line, patch_torchvision, write_family

REAL_DATA = Path(os.environ.get("PRUNECTL_DATA_DIR") or cache_folder())


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("name", "title", "first_class", "mean"),
    [
        ("mnist", "MNIST", "0", 0.1307),
        ("fashionmnist", "FashionMNIST", "T-shirt/top", 0.2860),
        ("kmnist", "KMNIST", "o", 0.1918),
    ],
)
@pytest.mark.parametrize("below", ["raw", "."])
def test_the_family_is_read(
    tmp_path: Path, name: str, title: str, first_class: str, mean: float, zipped: bool, below: str
) -> None:
    write_family(tmp_path / title / below, zipped)
    data = load_data(name, tmp_path)
    assert (data.name, data.shape, data.classes[0], len(data.classes)) == (name, (1, 28, 28), first_class, 10)
    assert data.preprocessing.mean == (mean,)
    assert data.augment == ()
    for part, count in ((data.train, 10), (data.test, 4)):
        assert part.labels.tolist() == list(range(count))
        assert part.pixels[:, 0, 27, 27].tolist() == list(range(count))


def test_image_size_resizes_what_has_a_size(tmp_path: Path) -> None:
    write_family(tmp_path / "KMNIST")
    data = load_data("kmnist", tmp_path, image_size=32)
    assert data.shape == (1, 32, 32)
    assert data.train.pixels[:, 0, 31, 31].tolist() == list(range(10))


def test_files_in_the_folder_itself_need_its_name(tmp_path: Path) -> None:
    write_family(tmp_path / "mine")
    assert len(load_data(f"mnist:{tmp_path}/mine").train) == 10
    with pytest.raises(DataError) as error:  # all sets of the family have these file names
        load_data("mnist", tmp_path / "mine")
    assert one_line(error) == (
        f"no mnist in {tmp_path}/mine (looked for MNIST/raw/train-images-idx3-ubyte[.gz] and its three companions); "
        "add `download` (train, prune, eval, attack), or set `data_dir` to its folder"
    )


def test_debian_ships_fashion_mnist(tmp_path: Path) -> None:
    write_family(tmp_path / "debian", zipped=True, first_label=3)
    assert load_data("fashionmnist", tmp_path).train.labels[0] == 3
    write_family(tmp_path / "FashionMNIST" / "raw", first_label=5)
    assert load_data("fashionmnist", tmp_path).train.labels[0] == 5
    for spec in ("mnist", "kmnist", f"fashionmnist:{tmp_path}/elsewhere"):
        with pytest.raises(DataError, match="no "):
            load_data(spec, tmp_path)


def test_three_of_four_files_are_none(tmp_path: Path) -> None:
    write_family(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="no mnist in"):
        load_data("mnist", tmp_path)


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (IMAGES, b"", "expected an IDX file of 3-dimensional bytes (magic 0x0803), found magic 0x0000 in 0 bytes"),
        (IMAGES, idx_bytes(torch.zeros(5)), "(magic 0x0803), found magic 0x0801 in 13 bytes"),
        (IMAGES, idx_bytes(torch.zeros(2, 3, 3), 0x0D03), "found magic 0x0d03"),
        (IMAGES, idx_bytes(torch.zeros(2, 3, 3))[:-1], "expected 34 bytes for 2 x 3 x 3 values, found 33"),
        (IMAGES, idx_bytes(torch.zeros(2, 3, 3)) + b"0", "expected 34 bytes for 2 x 3 x 3 values, found 35"),
        (IMAGES, idx_bytes(torch.zeros(0, 3, 3)), "expected 16 bytes for 0 x 3 x 3 values, found 16"),
        (IMAGES, gzip.compress(idx_bytes(torch.zeros(2, 3, 3)), mtime=0)[:-9], "expected a readable IDX file, found: "),
        (IMAGES, b"\x1f\x8b" + b"no gzip", "expected a readable IDX file, found: "),
        (LABELS, idx_bytes(torch.zeros(9)), "expected 10 labels, one per image, found 9"),
        (LABELS, idx_bytes(torch.full((10,), 10)), "expected labels below 10, found 10"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    write_family(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "raw" / file).write_bytes(content)
    with pytest.raises(DataError) as error:
        load_data("mnist", tmp_path)
    text = one_line(error)
    assert text.startswith(f"{tmp_path}/MNIST/raw/{file}: ")
    assert message in text
    assert text.endswith("; replace it")


def test_a_broken_deflate_stream_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(bytes(range(256)) * 8)
    (tmp_path / "file").write_bytes(whole[:12] + b"\xff" * 20 + whole[32:])
    with pytest.raises(DataError, match="expected a readable IDX file") as error:
        idx.read_idx(tmp_path / "file", 1)
    assert isinstance(error.value.__cause__, zlib.error)


def test_training_and_test_images_have_one_size(tmp_path: Path) -> None:
    write_family(tmp_path / "MNIST")
    (tmp_path / "MNIST" / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(torch.zeros(4, 8, 8)))
    with pytest.raises(DataError, match=r"shapes differ: \(1, 28, 28\) \(train\), \(1, 8, 8\) \(test\)"):
        load_data("mnist", tmp_path)


def test_the_real_fashion_mnist() -> None:
    if not (REAL_DATA / "FashionMNIST" / "raw").is_dir():
        pytest.skip(f"no FashionMNIST/raw in {REAL_DATA}; set PRUNECTL_DATA_DIR to a folder that has it")
    data = load_data("fashionmnist", REAL_DATA)
    assert (data.shape, len(data.train), len(data.test)) == ((1, 28, 28), 60_000, 10_000)
    assert data.train.labels.bincount().tolist() == [6000] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
    assert data.train.labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert statistics(data.train.pixels) == data.preprocessing


def test_a_download_lands_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    roots = []

    def fashion(root: Path, download: bool) -> None:
        assert download
        roots.append(root)
        print("downloading")
        write_family(root / "FashionMNIST" / "raw")

    patch_torchvision(monkeypatch, "FashionMNIST", fashion)
    (tmp_path / "sets" / "FashionMNIST" / "raw").mkdir(parents=True)  # left by another program
    (tmp_path / "sets" / "FashionMNIST" / "raw" / IMAGES).write_bytes(b"half")
    for _ in range(2):
        data = load_data("fashionmnist", tmp_path / "sets", download=True)
    assert len(data.train) == 10
    assert len(roots) == 1
    assert roots[0].parent == tmp_path / "sets"
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["FashionMNIST"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (URLError("no route to host"), "<urlopen error no route to host>"),
        (RuntimeError("Error downloading:\nTried a\nTried b\n"), "Error downloading: Tried a Tried b"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_failed_download_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, message: str
) -> None:
    def kuzushiji(root: Path, download: bool) -> None:
        write_family(root / "KMNIST" / "raw")
        raise failure

    patch_torchvision(monkeypatch, "KMNIST", kuzushiji)
    with pytest.raises(DataError) as error:
        load_data("kmnist", tmp_path / "sets", download=True)
    assert one_line(error) == (
        f"could not download kmnist to {tmp_path}/sets: {message}; check the network, or copy the dataset there"
    )
    assert list((tmp_path / "sets").iterdir()) == []


def test_an_interrupted_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mnist(root: Path, download: bool) -> None:
        write_family(root / "MNIST" / "raw")
        raise KeyboardInterrupt

    patch_torchvision(monkeypatch, "MNIST", mnist)
    with pytest.raises(KeyboardInterrupt):
        load_data("mnist", tmp_path / "sets", download=True)
    assert list((tmp_path / "sets").iterdir()) == []
