"""Image folders of strangers: links without end, files that are none, giants, workers that die."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prunectl.cli.app import _full
from prunectl.data import cache, decode, workers
from prunectl.data.decode import MOST_HIGH, Decoder, usual_height
from prunectl.data.load import load_data
from prunectl.data.source import cache_folder
from prunectl.data.walk import find_images
from prunectl.errors import DataError
from prunectl.torchtools.temporaries import temporary
from tests.helpers.dataset_files import one_line, write_tree

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


# --- links


def test_folders_that_link_to_each_other_twice_are_read_once(tmp_path):
    root = write_tree(tmp_path / "pets")
    for i in range(40):  # 2^40 names of the last one
        (root / "train" / "cat" / f"d{i}").mkdir()
        for name in "ab":
            (root / "train" / "cat" / f"d{i}" / name).symlink_to(f"../d{i + 1}")
    data = load_data(f"imagefolder:{root}")
    assert len(data.train) == 4
    (notice,) = [notice for notice in data.notices if "read by another name" in notice]
    assert "78 links lead to folders that are read by another name" in notice


def test_links_in_a_circle_and_back_up_add_no_image(tmp_path):
    root = write_tree(tmp_path / "pets")
    for name in ("x", "y", "z"):
        (root / "train" / "cat" / name).mkdir()
    for name, other in (("x", "y"), ("y", "z"), ("z", "x")):
        (root / "train" / "cat" / name / "on").symlink_to(f"../{other}")
    (root / "train" / "cat" / "x" / "root").symlink_to("/")
    (root / "train" / "dog" / "cats").symlink_to("../../train")
    assert len(load_data(f"imagefolder:{root}").train) == 4


def test_a_folder_is_read_under_its_own_name_first(tmp_path):
    (tmp_path / "z").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "z" / "0.png")
    (tmp_path / "a").symlink_to("z")
    found = find_images(tmp_path, frozenset())
    assert (found.images, found.again) == ([str(tmp_path / "z" / "0.png")], [str(tmp_path / "a")])


def test_a_folder_elsewhere_is_read_once(tmp_path):
    (tmp_path / "away" / "in").mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(tmp_path / "away" / "in" / "0.png")
    (tmp_path / "here").mkdir()
    for name, target in (("a", "away/in"), ("b", "away"), ("c", "away")):
        (tmp_path / "here" / name).symlink_to(tmp_path / target)
    assert len(find_images(tmp_path / "here", frozenset()).images) == 1


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux has /proc")
def test_the_file_systems_of_the_kernel_are_not_read(tmp_path):
    (tmp_path / "processes").symlink_to("/proc")
    found = find_images(tmp_path, frozenset())
    assert (found.images, found.skipped) == ([], [str(tmp_path / "processes")])


# --- files that are none


def test_pipes_are_not_waited_for_wherever_a_name_leads_to_one(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match="expected a whole image, found: not a regular file"):
        Decoder(4, "RGB")(str(tmp_path / "pipe.jpg"))
    with pytest.raises(DataError, match="found: not a regular file"):
        decode.decoder_like([str(tmp_path / "pipe.jpg")], None)
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(DataError, match="found something else"):
        load_data(f"webdataset:{tmp_path}/*.tar")


def test_a_list_of_files_that_names_a_device_is_refused(tmp_path):
    root = write_tree(tmp_path / "tiny")
    for path in (root / "test").rglob("*.png"):
        path.unlink()
    for folder in ("test/cat", "test/dog", "test"):
        (root / folder).rmdir()
    (root / "val" / "images").mkdir(parents=True)
    (root / "val" / "val_annotations.txt").write_text("/dev/zero\tcat\t0\t0\t0\t0\n")
    with pytest.raises(DataError) as error:
        load_data(f"imagefolder:{root}")
    assert "/dev/zero: expected a whole image, found: not a regular file" in one_line(error)


# --- giants


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([8], 8),
        ([4000, 8, 8], 8),
        ([8, 8, 9, 4000, 8], 8),
        ([300, 400, 500, 9000], 400),
        ([8, 9], 8),
        ([3024] * 5, MOST_HIGH),
        ([MOST_HIGH], MOST_HIGH),
    ],
)
def test_the_size_is_that_of_most_images(heights, expected):
    assert usual_height(heights) == expected


def test_one_giant_makes_no_giants(tmp_path):
    root = write_tree(tmp_path / "pets")
    Image.new("RGB", (3000, 3000)).save(root / "train" / "cat" / "0.png")  # the first
    data = load_data(f"imagefolder:{root}")
    assert data.shape == (3, 8, 8)
    assert data.notices == ()
    assert load_data(f"imagefolder:{root}", image_size=5).shape == (3, 5, 5)


def test_a_folder_of_giants_is_brought_to_a_size_that_is_said(tmp_path, monkeypatch):
    for name in ("decode", "sets.imagefolder"):
        monkeypatch.setattr(f"prunectl.data.{name}.MOST_HIGH", 6)
    root = write_tree(tmp_path / "pets")
    data = load_data(f"imagefolder:{root}")
    assert data.shape == (3, 6, 6)
    assert data.notices == (f"{root}: images are resized to 6 x 6 pixels; --image-size changes this",)
    assert load_data(f"imagefolder:{root}", image_size=7).shape == (3, 7, 7)


@pytest.mark.parametrize("rule", [{}, {"crop": 0.875, "interpolation": "bicubic"}])
def test_an_image_that_would_fill_the_memory_is_refused_before_it_is_decoded(tmp_path, monkeypatch, rule):
    Image.new("1", (16384, 4097)).save(tmp_path / "bomb.png")  # 8 kB that become 200 MB
    loaded = []
    monkeypatch.setattr(Image.Image, "load", loaded.append)
    with pytest.raises(DataError) as error:
        Decoder(8, "RGB", **rule)(str(tmp_path / "bomb.png"))
    assert "found: 16384 x 4097 pixels, more than the limit of 67,108,864" in one_line(error)
    assert loaded == []


def test_a_large_photograph_is_read_as_its_format_can_decode_it_small(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "MOST_PIXELS", 100_000)
    Image.new("RGB", (1600, 1200), (9, 9, 9)).save(tmp_path / "a.jpg")
    assert Decoder(8, "RGB")(str(tmp_path / "a.jpg")).max() == 9
    Image.new("RGB", (1600, 1200), (9, 9, 9)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="1600 x 1200 pixels"):
        Decoder(8, "RGB")(str(tmp_path / "a.png"))


def test_a_line_of_pixels_is_not_blown_up(tmp_path):
    Image.new("L", (30_000, 1)).save(tmp_path / "line.png")
    with pytest.raises(DataError, match="7680000 x 256 pixels"):
        Decoder(224, "RGB", crop=0.875, interpolation="bicubic")(str(tmp_path / "line.png"))
    assert Decoder(8, "RGB")(str(tmp_path / "line.png")).shape == (3, 8, 8)


def test_workers_bring_few_large_images_at_a_time(tmp_path, monkeypatch):
    root, sizes = write_tree(tmp_path / "pets"), []

    def seen(paths, decoder, batches):
        sizes.append([len(batch) for batch in batches])
        return original(paths, decoder, batches)

    original = cache.decoded_batches
    monkeypatch.setattr(cache, "decoded_batches", seen)
    monkeypatch.setattr(cache, "_CHUNK_BYTES", 2 * 3 * 8 * 8)
    load_data(f"imagefolder:{root}")
    assert sizes == [[2, 2, 2]]


# --- what dies


class Dying:
    """A decoder whose process is killed, as the kernel does when memory runs out."""

    shape = (1, 1, 1)

    def __call__(self, item: int) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros(self.shape, np.uint8)


@pytest.mark.parametrize("count", [1, 3])
def test_a_worker_that_is_killed_is_one_line(count, monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 2)
    with pytest.raises((DataError, RuntimeError)) as error:
        list(workers.decoded_batches(range(count), Dying(), [[i] for i in range(count)]))
    said = str(error.value) if isinstance(error.value, DataError) else _full(error.value)
    assert said is not None and said.startswith("the system ended a process that decodes images")


def test_another_failure_of_the_loader_comes_through():
    assert _full(RuntimeError("something else")) is None
    told = _full(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "))
    assert told == (
        "the system ended a process that decodes images, perhaps because memory ran out; "
        "use a smaller --image-size or -b"
    )


KILLED = """
import os, signal, sys
from prunectl.data import cache
from prunectl.data.load import load_data
from prunectl.data.source import cache_folder

def dying(*_):
    yield from ()
    os.kill(os.getpid(), signal.SIGKILL)

cache._chunks = dying
load_data(f"imagefolder:{sys.argv[1]}")
"""


@pytest.mark.long
def test_what_a_killed_decode_left_goes_with_the_next_one(tmp_path):
    root = write_tree(tmp_path / "pets")
    ran = subprocess.run([sys.executable, "-c", KILLED, str(root)], check=False)
    images = cache_folder() / "images"
    assert ran.returncode == -signal.SIGKILL
    (left,) = images.iterdir()
    assert left.name.startswith(".pets-")
    load_data(f"imagefolder:{root}")
    (cached,) = images.iterdir()
    assert cached.name.startswith("pets-")


def test_what_another_decode_writes_now_stays_and_what_earlier_versions_forgot_goes(tmp_path):
    root, images = write_tree(tmp_path / "pets"), cache_folder() / "images"
    images.mkdir(parents=True)
    living, old, young = temporary(images / "other.safetensors"), images / ".abcd1234", images / ".wxyz5678"
    for path in (living, old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 100_000,) * 2)
    load_data(f"imagefolder:{root}")
    assert {path.name for path in images.iterdir() if path.name[0] == "."} == {living.name, young.name}
