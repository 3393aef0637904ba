"""What torchvision reads and downloads: CIFAR, SVHN, Omniglot, Imagenette."""

import pickle  # noqa: TID251  (CIFAR comes pickled; torchvision reads it)
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prunectl.data.load import load_data
from prunectl.data.sets import imagenette, omniglot
from prunectl.errors import DataError
from tests.helpers.dataset_files import one_line, patch_torchvision, write_tree

DIGITS = tuple("0123456789")
# DataLoader forks; Python 3.12 and later say that threads may not survive that, and none of ours is needed there
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


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
        "add `download` (train, prune, eval, attack), or set `data_dir` to its folder"
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
