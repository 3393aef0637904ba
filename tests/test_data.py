"""Datasets: what comes out is literal, what is missing or damaged is one line that says what to do."""

import gzip
import os
import pickle  # noqa: TID251  (CIFAR comes pickled; torchvision reads it)
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from prunectl.data import cache, decode, folder, idx, imagenette, load_data, omniglot, workers
from prunectl.data.imagefolder import imagefolder
from prunectl.data.pixels import resized, statistics
from prunectl.data.source import cache_folder, data_folder
from prunectl.data.stream import Stream
from prunectl.errors import DataError, OptionError, UnknownName
from prunectl.images import ImageData, Images

REAL_DATA = Path(os.environ.get("PRUNECTL_DATA_DIR") or cache_folder())
DIGITS = tuple("0123456789")

# DataLoader forks; Python 3.12 and later say that threads may not survive that, and none of ours is needed there
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither read nor write what belongs to the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PRUNECTL_DATA_DIR", raising=False)
    monkeypatch.setattr(idx, "DEBIAN", tmp_path / "debian")


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


# --- digits


def test_digits_are_what_scikit_learn_ships() -> None:
    data = load_data("digits", image_size=8)
    train, test = data.train, data.test
    assert isinstance(train, Images)
    assert isinstance(test, Images)
    assert (data.name, data.classes, data.shape, data.augment) == ("digits", DIGITS, (1, 8, 8), ())
    assert (len(train), len(test)) == (1442, 355)
    assert test.labels.bincount().tolist() == [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]
    counts = (train.labels.bincount() + test.labels.bincount()).tolist()
    assert counts == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # the first image of the file, a zero: 0 0 5 13 9 1 0 0 in its first row, of 16
    assert train.labels[:3].tolist() == [0, 1, 2]
    assert train.pixels[0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert sorted(train.pixels.unique().tolist())[-2:] == [239, 255]


def test_no_digit_is_both_for_training_and_for_testing() -> None:
    data = load_data("digits", image_size=8)
    train, test = ({bytes(image.flatten().tolist()) for image in part.pixels} for part in (data.train, data.test))
    assert (len(train), len(test), len(train & test)) == (1442, 355, 0)


def test_digits_are_28_pixels_high_unless_told() -> None:
    assert load_data("digits").shape == (1, 28, 28)
    assert load_data("digits", image_size=32).shape == (1, 32, 32)


def test_tuning_does_not_touch_the_test_images_of_digits() -> None:
    data = load_data("digits", image_size=8)
    tuned = data.tuning()
    assert (len(tuned.train), len(tuned.test)) == (1154, 288)
    held = {bytes(image.flatten().tolist()) for image in tuned.test.pixels}
    assert not held & {bytes(image.flatten().tolist()) for image in data.test.pixels}
    assert min(tuned.test.labels.bincount(minlength=10).tolist()) > 10


def test_synthetic_is_seeded_balanced_and_learnable() -> None:
    data, again = load_data("synthetic"), load_data("synthetic")
    assert (data.shape, len(data.train), len(data.test)) == ((1, 28, 28), 2000, 500)
    assert data.train.labels.bincount().tolist() == [200] * 10
    assert data.train.pixels.equal(again.train.pixels)
    assert not data.train.pixels[:500].equal(data.test.pixels)
    means = torch.stack([data.train.pixels[data.train.labels == c].float().mean(0) for c in range(10)])
    nearest = torch.cdist(data.test.pixels.flatten(1).float(), means.flatten(1)).argmin(1)
    assert nearest.equal(data.test.labels)
    assert load_data("synthetic", image_size=12).shape == (1, 12, 12)


def test_small_data_does_not_import_torchvision(tmp_path: Path) -> None:
    write_family(tmp_path / "MNIST" / "raw")
    write_tree(tmp_path / "tree")
    code = (
        "import sys; from pathlib import Path; from prunectl.data import load_data\n"
        f"for spec in ('digits', 'synthetic', 'mnist', 'imagefolder:{tmp_path}/tree'):\n"
        f"    load_data(spec, Path({str(tmp_path)!r}))\n"
        "print([name for name in ('torchvision', 'sklearn', 'foolbox') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


# --- pixels


def test_resizing_keeps_constants_and_the_mean() -> None:
    flat = torch.full((3, 2, 8, 8), 77, dtype=torch.uint8)
    assert resized(flat, 20).eq(77).all()
    assert resized(flat, 5).eq(77).all()
    assert resized(flat, None) is flat
    assert resized(flat, 8) is flat
    ramp = torch.tensor([0, 100], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 1, 2, 2)
    assert resized(ramp, 4)[0, 0, 0].tolist() == [0, 25, 75, 100]
    checks = (torch.arange(64).view(8, 8) + torch.arange(8)[:, None]).remainder(2).mul(200).to(torch.uint8)
    assert resized(checks.view(1, 1, 8, 8), 4)[0, 0, 1:3, 1:3].tolist() == [[100, 100], [100, 100]]  # no aliasing


def test_resizing_in_parts_is_resizing(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.randint(0, 256, (7, 3, 6, 6), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    whole, measured = resized(pixels, 9), statistics(pixels)
    monkeypatch.setattr("prunectl.data.pixels._CHUNK", 500)
    assert resized(pixels, 9).equal(whole)
    assert statistics(pixels) == measured


def test_statistics_by_hand() -> None:
    pixels = torch.tensor([[0, 51], [255, 51]], dtype=torch.uint8).view(2, 2, 1, 1)
    measured = statistics(pixels)
    assert measured.mean == (0.5, 0.2)
    assert measured.std == (0.5, 0.0039)  # one value only: a step of a pixel, to divide by


# --- where data lies


def test_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert data_folder(None) == tmp_path / "cache" / "prunectl"
    monkeypatch.setenv("PRUNECTL_DATA_DIR", "~/sets")
    assert data_folder(None) == Path.home() / "sets"
    assert data_folder(Path("here")) == Path("here")
    monkeypatch.setenv("PRUNECTL_DATA_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert data_folder(None) == Path.home() / ".cache" / "prunectl"


def test_the_environment_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_family(tmp_path / "sets" / "MNIST" / "raw")
    monkeypatch.setenv("PRUNECTL_DATA_DIR", str(tmp_path / "sets"))
    assert len(load_data("mnist").train) == 10


@pytest.mark.parametrize(
    ("spec", "image_size", "error", "message"),
    [
        ("digitz", None, UnknownName, "no data named 'digitz'; did you mean 'digits'?"),
        ("nowhere.py:load", None, UnknownName, "no data at 'nowhere.py:load'"),
        ("digits:", None, OptionError, "write digits or digits:PATH"),
        ("digits", 0, OptionError, "--image-size 0: an image has at least 1 pixel a side"),
    ],
)
def test_specs_that_cannot_work(spec: str, image_size: int | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        load_data(spec, image_size=image_size)
    assert message in one_line(raised)


# --- a loader of one's own

LOADER = """
import torch
from prunectl.images import ImageData, Images, Preprocessing

def images(count, label=0, size=4):
    return Images(torch.zeros(count, 1, size, size, dtype=torch.uint8), torch.full((count,), label))

def mine(root, *, image_size, download, progress):
    return ImageData(f"mine at {root}", images(4, size=image_size), images(2, size=image_size), ("a",), ONE)

def data(train, test, preprocessing):
    return lambda root, **options: ImageData("data", train, test, ("a",), preprocessing)

ONE = Preprocessing((0.5,), (0.5,))
nothing = lambda root, **options: None
empty = data(images(4), images(0), ONE)
uneven = data(images(4), images(2, size=5), ONE)
grey = data(images(4), images(2), Preprocessing((0.5,) * 3, (0.5,) * 3))
label = data(images(4), images(2, label=1), ONE)
"""


def test_a_loader_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "loader.py").write_text(LOADER)
    data = load_data(f"{tmp_path}/loader.py:mine", Path("sets"), image_size=6)
    assert (data.name, data.shape, len(data.train)) == ("mine at sets", (1, 6, 6), 4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "expected the loader to return ImageData, found NoneType"),
        ("empty", "found 4 training and 0 test images; need both"),
        ("uneven", "training images are (1, 4, 4), test images (1, 5, 5)"),
        ("grey", "images have 1 channels, but 3 means, 3 stds"),
        ("label", "expected labels 0 to 0, found 1 to 1"),
    ],
)
def test_a_loader_must_bring_what_can_be_used(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "loader.py").write_text(LOADER)
    with pytest.raises(DataError) as error:
        load_data(f"{tmp_path}/loader.py:{name}")
    assert message in one_line(error)


# --- the MNIST family


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
        "run `prunectl train --data mnist --download`, or point --data-dir at it"
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
        (LABELS, idx_bytes(torch.zeros(9)), "expected 10 labels, one an image, found 9"),
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
    with pytest.raises(DataError, match=r"training images are \(1, 28, 28\), test images \(1, 8, 8\)"):
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


# --- downloads


def patch_torchvision(monkeypatch: pytest.MonkeyPatch, title: str, fake: object) -> None:
    monkeypatch.setattr(f"torchvision.datasets.{title}", fake)


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


# --- what torchvision reads


def write_cifar(root: Path, title: str) -> None:
    """Images of one colour a channel: image i is (i, 100, 200)."""
    hundred = title == "CIFAR100"
    place = root / ("cifar-100-python" if hundred else "cifar-10-batches-py")
    place.mkdir(parents=True)
    files = {"train": 6, "test": 4} if hundred else {**{f"data_batch_{i}": 6 for i in range(1, 6)}, "test_batch": 4}
    for name, count in files.items():
        data = np.zeros((count, 3, 1024), np.uint8)
        data[:, 0], data[:, 1], data[:, 2] = np.arange(count)[:, None], 100, 200
        labels = {"fine_labels" if hundred else "labels": list(range(count))}
        (place / name).write_bytes(pickle.dumps({"data": data.reshape(count, 3072), **labels}))
    names = {"fine_label_names" if hundred else "label_names": [f"class {i}" for i in range(100 if hundred else 10)]}
    (place / ("meta" if hundred else "batches.meta")).write_bytes(pickle.dumps(names))


@pytest.mark.parametrize(("title", "classes", "train"), [("CIFAR10", 10, 30), ("CIFAR100", 100, 6)])
def test_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, title: str, classes: int, train: int) -> None:
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, *_: Path(path).is_file())
    write_cifar(tmp_path, title)
    data = load_data(title.lower(), tmp_path)
    assert (data.shape, len(data.classes), data.augment) == ((3, 32, 32), classes, ("flip", "crop"))
    assert (len(data.train), len(data.test)) == (train, 4)
    assert data.classes[1] == "class 1"
    assert data.train.labels[:6].tolist() == [0, 1, 2, 3, 4, 5]
    assert data.train.pixels[3, :, 31, 0].tolist() == [3, 100, 200]
    assert load_data(title.lower(), tmp_path, image_size=16).shape == (3, 16, 16)


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import scipy.io

    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda path, *_: Path(path).is_file())
    for part, count in (("train", 5), ("test", 3)):
        pixels = np.zeros((32, 32, 3, count), np.uint8) + np.array([1, 2, 3], np.uint8)[:, None]
        labels = np.array([10, 1, 2, 3, 4][:count], np.uint8)[:, None]  # they call the digit 0 ten
        scipy.io.savemat(tmp_path / f"{part}_32x32.mat", {"X": pixels, "y": labels})
    data = load_data("svhn", tmp_path)
    assert (data.shape, data.classes, data.augment, len(data.test)) == ((3, 32, 32), DIGITS, (), 3)
    assert data.train.labels.tolist() == [0, 1, 2, 3, 4]
    assert data.train.pixels[4, :, 5, 6].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "looked_for"),
    [
        ("cifar10", "cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
        ("svhn", "train_32x32.mat"),
        ("omniglot", "omniglot-py/images_background"),
        ("imagenette", "imagenette2-160/train/n01440764"),
    ],
)
def test_what_is_not_there_is_one_line(tmp_path: Path, name: str, looked_for: str) -> None:
    with pytest.raises(DataError) as error:
        load_data(name, tmp_path)
    assert one_line(error) == (
        f"no {name} in {tmp_path} (looked for {looked_for}); "
        f"run `prunectl train --data {name} --download`, or point --data-dir at it"
    )


def test_files_that_are_not_those_of_cifar(tmp_path: Path) -> None:
    write_cifar(tmp_path, "CIFAR10")
    with pytest.raises(DataError) as error:
        load_data("cifar10", tmp_path)
    assert "expected the files of cifar10, found others or damaged ones" in one_line(error)


def test_cifar_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    class Fake(CIFAR10):
        def download(self) -> None:
            if not Path(self.root, self.base_folder).exists():
                write_cifar(Path(self.root), "CIFAR10")

    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, *_: Path(path).is_file())
    patch_torchvision(monkeypatch, "CIFAR10", Fake)
    assert len(load_data("cifar10", tmp_path, download=True).train) == 30
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-batches-py"]
    patch_torchvision(monkeypatch, "CIFAR10", CIFAR10)
    assert len(load_data("cifar10", tmp_path, download=True).train) == 30


def write_omniglot(root: Path) -> None:
    """Two characters of twenty drawings: a square of ink, in the corner or in the middle."""
    for character, ink in (("character01", slice(0, 45)), ("character02", slice(30, 75))):
        place = root / "omniglot-py" / "images_background" / "Greek" / character
        place.mkdir(parents=True)
        paper = np.ones((105, 105), bool)
        paper[ink, ink] = False
        for drawing in range(1, 21):
            Image.fromarray(paper).save(place / f"0001_{drawing:02}.png")


def test_omniglot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(root: Path, download: bool) -> None:
        write_omniglot(root)

    patch_torchvision(monkeypatch, "Omniglot", fake)
    monkeypatch.setattr(omniglot, "CHARACTERS", 2)
    data = load_data("omniglot", tmp_path, download=True)
    assert (data.shape, data.classes) == ((1, 28, 28), ("Greek/character01", "Greek/character02"))
    assert data.train.labels.tolist() == [0] * 15 + [1] * 15
    assert data.test.labels.tolist() == [0] * 5 + [1] * 5
    corner, middle = data.train.pixels[0, 0], data.train.pixels[15, 0]
    assert (corner[0, 0], corner[14, 14], middle[0, 0], middle[14, 14]) == (255, 0, 0, 255)  # ink is 255
    assert load_data("omniglot", tmp_path, image_size=35).shape == (1, 35, 35)
    next(tmp_path.rglob("0001_07.png")).unlink()
    with pytest.raises(DataError) as error:
        load_data("omniglot", tmp_path)
    assert "expected 2 characters of 20 drawings, found 2 characters with 39 drawings" in one_line(error)


def test_imagenette(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(root: Path, size: str, download: bool) -> None:
        assert size == "160px"
        write_tree(root / "imagenette2-160", classes=tuple(imagenette.CLASSES), test="val", size=(200, 160))

    patch_torchvision(monkeypatch, "Imagenette", fake)
    data = load_data("imagenette", tmp_path, download=True)
    assert (data.shape, len(data.train), len(data.test)) == ((3, 128, 128), 20, 10)
    assert (data.name, data.classes[0], data.classes[9]) == ("imagenette", "tench", "parachute")
    assert data.augment == ("flip",)
    assert load_data(f"imagenette:{tmp_path}/imagenette2-160", image_size=16).shape == (3, 16, 16)
    (tmp_path / "imagenette2-160" / "train" / "n03888257").rename(tmp_path / "imagenette2-160" / "train" / "n9")
    (tmp_path / "imagenette2-160" / "val" / "n03888257").rename(tmp_path / "imagenette2-160" / "val" / "n9")
    with pytest.raises(DataError, match="expected the 10 classes of imagenette, found 10 classes; delete it"):
        load_data("imagenette", tmp_path)


# --- a folder of images


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


def test_a_folder_of_images(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    data = load_data(f"imagefolder:{write_tree(tmp_path / 'pets')}", progress=lambda *step: seen.append(step))
    assert (data.name, data.classes, data.shape, data.augment) == ("pets", ("cat", "dog"), (3, 8, 8), ("flip",))
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert data.test.labels.tolist() == [0, 1]
    assert data.train.pixels[:, :, 7, 0].tolist() == [[10] * 3, [20] * 3, [30] * 3, [40] * 3]
    assert data.test.pixels[:, 2, 0, 7].tolist() == [50, 60]
    assert data.preprocessing.mean == (0.098,) * 3  # 25 of 255
    assert seen == [(6, 6)]
    assert len(load_data("imagefolder", tmp_path / "pets").train) == 4


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "bmp", "webp"])
@pytest.mark.parametrize("test", ["test", "val", "valid"])
def test_formats_and_folders(tmp_path: Path, suffix: str, test: str) -> None:
    data = load_data(f"imagefolder:{write_tree(tmp_path / 'x', test=test, suffix=suffix)}")
    assert (len(data.train), len(data.test)) == (4, 2)
    assert abs(int(data.test.pixels[1, 0, 0, 0]) - 60) <= 2


@pytest.mark.parametrize("mode", ["L", "1", "I;16"])
def test_gray_stays_gray(tmp_path: Path, mode: str) -> None:
    root = write_tree(tmp_path / "gray", mode="1" if mode == "1" else "L")
    if mode == "I;16":
        Image.fromarray(np.full((8, 8), 513, np.uint16)).save(root / "train" / "cat" / "0.png")  # 2 of 255
    data = load_data(f"imagefolder:{root}")
    assert (data.shape, data.augment) == ((1, 8, 8), ())
    assert data.train.pixels[:2, 0, 0, 0].tolist() == {"L": [10, 20], "1": [0, 0], "I;16": [2, 20]}[mode]


def test_images_become_squares_from_their_middle(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "wide")
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 2:6] = 255
    Image.fromarray(wide).save(root / "train" / "cat" / "0.png")
    data = load_data(f"imagefolder:{root}")
    assert data.shape == (3, 4, 4)  # as high as the first
    assert data.train.pixels[0].eq(255).all()
    assert data.train.pixels[1].eq(20).all()


def test_a_large_jpeg_is_decoded_small(tmp_path: Path) -> None:
    picture = np.zeros((256, 512, 3), np.uint8)
    picture[:, 256:, 0] = 200
    Image.fromarray(picture).save(tmp_path / "a.jpg", quality=95)
    pixels = decode.Decoder(16, "RGB")(str(tmp_path / "a.jpg"))
    assert pixels.shape == (3, 16, 16)
    assert np.abs(pixels[0, :, 10:].astype(int) - 200).max() < 6
    assert pixels[0, :, :6].max() < 6


def test_what_a_worker_does(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 0x0203, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "colour.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "colour.png").read_bytes()[:40])
    paths = [str(tmp_path / f"{name}.png") for name in ("deep", "colour", "broken")]
    batches = workers._Batches(paths, decode.Decoder(4, "L"))
    pixels, failure = batches[[1, 0]], batches[[0, 2]]
    assert isinstance(pixels, np.ndarray)
    assert pixels[:, 0, 3, 3].tolist() == [9, 2]  # the upper eight bits of sixteen
    assert isinstance(failure, DataError)
    assert str(failure).startswith(f"{tmp_path}/broken.png: expected a whole image, found: ")
    assert workers._unchanged(failure) is failure


def test_a_cache_file_that_another_run_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path / "pets")
    monkeypatch.setattr(cache, "_read", lambda target, fingerprint: None)
    with pytest.raises(DataError, match="expected what was just written, found another file; run again"):
        load_data(f"imagefolder:{root}")


def test_image_size_and_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path / "pets")
    calls = []

    def counted(*arguments: Any) -> Iterator[Any]:
        calls.append(1)
        return original(*arguments)

    original = cache.decoded_batches
    monkeypatch.setattr(cache, "decoded_batches", counted)
    first, again = (load_data(f"imagefolder:{root}") for _ in range(2))
    assert len(calls) == 1
    assert first.train.pixels.equal(again.train.pixels)
    assert first.preprocessing == again.preprocessing
    assert load_data(f"imagefolder:{root}", image_size=5).shape == (3, 5, 5)
    assert len(calls) == 2
    load_data(f"imagefolder:{root}")
    assert len(calls) == 2  # each size has its own file

    Image.new("RGB", (8, 8), (99, 99, 99)).save(root / "test" / "dog" / "0.png")
    os.utime(root / "test" / "dog" / "0.png", ns=(1, 1))
    assert load_data(f"imagefolder:{root}").test.pixels[1, 0, 0, 0] == 99
    assert len(calls) == 3
    Image.new("RGB", (8, 8)).save(root / "test" / "dog" / "1.png")
    assert len(load_data(f"imagefolder:{root}").test) == 3
    assert len(calls) == 4
    kept = sorted((cache_folder() / "images").iterdir())
    assert len(kept) == 2  # of a changed tree the old pixels are not kept

    for file in kept:
        file.write_bytes(file.read_bytes()[:100])
    assert len(load_data(f"imagefolder:{root}").test) == 3
    assert len(calls) == 5


def test_more_images_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_CHUNK", 4)
    seen: list[tuple[int, int]] = []
    data = load_data(f"imagefolder:{write_tree(tmp_path / 'pets')}", progress=lambda *step: seen.append(step))
    assert data.train.pixels[:, 0, 0, 0].tolist() == [10, 20, 30, 40]
    assert data.test.pixels[:, 0, 0, 0].tolist() == [50, 60]
    assert seen == [(4, 6), (6, 6)]


def test_a_tree_may_be_read_only_but_the_cache_folder_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path / "pets")
    before = sorted(root.rglob("*"))
    load_data(f"imagefolder:{root}")
    assert sorted(root.rglob("*")) == before
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError) as error:
        load_data(f"imagefolder:{root}")
    assert "expected room to cache 1,152 bytes of decoded images" in one_line(error)
    assert "set XDG_CACHE_HOME" in one_line(error)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("limit", [None, 0])
@pytest.mark.parametrize("content", [b"no image", b"", "half"])
def test_a_broken_image_is_named(tmp_path: Path, content: bytes | str, limit: int | None, first: bool) -> None:
    root = write_tree(tmp_path / "pets", suffix="jpg", size=(64, 64))
    broken = root / "train" / ("cat" if first else "dog") / "0.jpg"
    broken.write_bytes(broken.read_bytes()[:-100] if isinstance(content, str) else content)
    with pytest.raises(DataError) as error:
        data = imagefolder(root, image_size=None, download=False, progress=None, limit=limit)
        list(data.train.batches(2))
    text = one_line(error)
    assert text.startswith(f"{broken}: expected a whole image, found: ")
    assert text.endswith("; replace or delete it")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    assert not list((tmp_path / "cache").rglob(".tmp*"))


def test_tiny_imagenet(tmp_path: Path) -> None:
    root = tmp_path / "tiny"
    for name in ("n1", "n2"):
        (root / "train" / name / "images").mkdir(parents=True)
        (root / "train" / name / f"{name}_boxes.txt").write_text("n1_0.JPEG\t0\t0\t62\t62\n")
        for i in range(3):
            Image.new("RGB", (64, 64)).save(root / "train" / name / "images" / f"{name}_{i}.JPEG")
    for part in ("val", "test"):
        (root / part / "images").mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (64, 64), (i * 50,) * 3).save(root / part / "images" / f"{part}_{i}.JPEG")
    annotations = root / "val" / "val_annotations.txt"
    annotations.write_text("".join(f"val_{i}.JPEG\t{name}\t0\t32\t44\t62\n" for i, name in enumerate("2121")))
    annotations.write_text(annotations.read_text().replace("\t2\t", "\tn2\t").replace("\t1\t", "\tn1\t"))
    data = load_data(f"imagefolder:{root}")
    assert (data.shape, data.classes, len(data.train)) == ((3, 64, 64), ("n1", "n2"), 6)
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    assert data.test.pixels[:, 0, 0, 0].tolist() == [50, 150, 0, 100]

    (root / "val" / "images" / "val_3.JPEG").unlink()
    with pytest.raises(DataError, match=r"val_3.JPEG: expected an image, found: No such file"):
        load_data(f"imagefolder:{root}")
    annotations.write_text("val_0.JPEG n1\n")
    with pytest.raises(DataError, match=r"expected lines of FILE, tab, CLASS, found 'val_0.JPEG n1'"):
        load_data(f"imagefolder:{root}")


def test_a_test_folder_without_labels_is_passed_over(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets", test="val")
    (root / "test" / "images").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "test" / "images" / "0.png")
    assert load_data(f"imagefolder:{root}").test.labels.tolist() == [0, 1]


def test_what_is_no_image_is_passed_over(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets")
    (root / "train" / ".cache").mkdir()
    (root / "train" / "empty").mkdir()
    (root / "train" / "cat" / "notes.txt").write_text("")
    (root / "train" / "cat" / "._0.png").write_bytes(b"what macOS leaves")
    data = load_data(f"imagefolder:{root}")
    assert (data.classes, len(data.train)) == (("cat", "dog"), 4)


def test_trees_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_data(f"imagefolder:{tmp_path}/none")
    assert one_line(error).startswith(f"no image folder at {tmp_path}/none (expected train/CLASS/*.jpg, ")
    root = write_tree(tmp_path / "pets", test="other")
    with pytest.raises(DataError) as error:
        load_data(f"imagefolder:{root}")
    assert one_line(error).startswith(f"no test images at {root} (expected test/CLASS/*.jpg or val/CLASS/*.jpg ")
    for name in "abcd":
        write_tree(root, (name,), test=f"unused-{name}")
        (root / "test").mkdir(exist_ok=True)
        (root / "train" / name).rename(root / "test" / name)
    with pytest.raises(DataError) as error:
        load_data(f"imagefolder:{root}")
    assert "expected the 2 classes of train/ only, found test images of 4 others (a, b, c, ...)" in one_line(error)


# --- images that stay on disk


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
    with pytest.raises(DataError, match="6 images have 5 labels"):
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
