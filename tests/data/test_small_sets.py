"""Digits, synthetic images, pixels, where data lies, loaders in files."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from prunectl.data.images import Images
from prunectl.data.load import FOLDERLESS, RESIZABLE, load_data
from prunectl.data.pixels import resized, statistics
from prunectl.data.source import data_folder
from prunectl.errors import DataError, OptionError, UnknownName
from prunectl.plugins.registry import TABLES
from tests.helpers.dataset_files import one_line, write_family, write_tree

DIGITS = tuple("0123456789")
# DataLoader forks; Python 3.12 and later say that threads may not survive that, and none of ours is needed there
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


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
        "import sys; from pathlib import Path; from prunectl.data.load import load_data\n"
        f"for spec in ('digits', 'synthetic', 'mnist', 'imagefolder:{tmp_path}/tree'):\n"
        f"    load_data(spec, Path({str(tmp_path)!r}))\n"
        "print([name for name in ('torchvision', 'sklearn', 'foolbox') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


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
        ("digitz", None, UnknownName, "no dataset named 'digitz'; did you mean 'digits'?"),
        ("nowhere.py:load", None, UnknownName, "no dataset at 'nowhere.py:load'"),
        ("digits:", None, OptionError, "write digits or digits:PATH"),
        ("digits", 0, OptionError, "`image_size` takes 1 pixel per side or more, got 0"),
    ],
)
def test_specs_that_cannot_work(spec: str, image_size: int | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        load_data(spec, image_size=image_size)
    assert message in one_line(raised)


LOADER = """
import torch
from prunectl.data.images import ImageData, Images, Preprocessing

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
        ("nothing", "expected the function to return ImageData, or (train, test), each a Dataset, a DataLoader or "),
        ("empty", "found 4 training and 0 test images; need both"),
        ("uneven", "shapes differ: (1, 4, 4) (train), (1, 5, 5) (test)"),
        ("grey", "images have 1 channels, but 3 means and 3 stds"),
        ("label", "expected labels 0 to 0, found 1 to 1"),
    ],
)
def test_a_loader_must_bring_what_can_be_used(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "loader.py").write_text(LOADER)
    with pytest.raises(DataError) as error:
        load_data(f"{tmp_path}/loader.py:{name}")
    assert message in one_line(error)


@pytest.mark.parametrize("name", TABLES["data"])
def test_no_dataset_takes_a_folder_in_which_it_finds_nothing(name: str, tmp_path: Path) -> None:
    """One without files is listed in FOLDERLESS."""
    with pytest.raises((DataError, OptionError)):
        load_data(f"{name}:{tmp_path}")


@pytest.mark.parametrize("name", sorted(FOLDERLESS))
def test_an_image_size_changes_the_datasets_that_are_listed(name: str) -> None:
    assert (load_data(name, image_size=9).shape[1:] == (9, 9)) == (name in RESIZABLE)
