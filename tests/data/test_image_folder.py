"""A folder of images: formats, sizes, its cache, what is no image."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prunectl.data import cache, decode, workers
from prunectl.data.load import load_data
from prunectl.data.sets.imagefolder import imagefolder
from prunectl.data.source import cache_folder
from prunectl.errors import DataError
from tests.helpers.dataset_files import one_line, write_tree

# DataLoader forks; Python 3.12 and later say that threads may not survive that, and none of ours is needed there
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


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


def test_one_gray_class_does_not_take_the_colours_of_others(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "colour")
    for path in (root / "train" / "cat").iterdir():
        Image.open(path).convert("L").save(path)
    assert load_data(f"imagefolder:{root}").shape == (3, 8, 8)


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
    assert data.shape == (3, 8, 8)  # as high as most
    assert data.train.pixels[0, ..., 1:-1].eq(255).all()
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
    with pytest.raises(DataError, match="expected the cache just written, found another file; run the command again"):
        load_data(f"imagefolder:{root}")


def test_image_size_and_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path / "pets")
    calls = []

    def counted(*arguments: Any) -> Iterator[Any]:
        calls.append(1)
        return original(*arguments)

    original = cache.decoded_batches
    monkeypatch.setattr(cache, "decoded_batches", counted)
    first = load_data(f"imagefolder:{root}")
    monkeypatch.chdir(tmp_path)
    again = load_data("imagefolder:pets")  # another name of the same folder, as commands have it beside checkpoints
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
    assert data.notices == (
        f"{root}/train: 1 class has no readable image and is left out (empty)",
        f"{root}/train: skipped 1 file that is not an image (cat/notes.txt)",
    )


def test_trees_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_data(f"imagefolder:{tmp_path}/none")
    assert one_line(error).startswith(f"no image folder at {tmp_path}/none (expected train/CLASS/*.jpg, ")
    root = write_tree(tmp_path / "pets", test="other")
    (root / "val").mkdir()
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
