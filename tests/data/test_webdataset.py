"""Tar files as the webdataset library writes them, and their splits."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prunectl.data import own
from prunectl.data.images import Images
from prunectl.data.load import load_data
from prunectl.data.sets import webdataset as sets
from prunectl.data.source import NetworkInput
from prunectl.data.stream import Stream
from prunectl.errors import DataError, OptionError
from tests.helpers.dataset_files import one_line

# DataLoader forks; Python 3.12 and later say that threads may not survive that, and none of ours is needed there
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def write_shard(path: Path, levels: range, *, label: str | None = None, suffix: str = "png", size: int = 4) -> Path:
    """Images of these levels, of the label `level modulo 2` or another text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for level in levels:
            picture = io.BytesIO()
            Image.new("RGB", (size, size), (level,) * 3).save(picture, "PNG")
            text = str(level % 2) if label is None else label
            for name, content in ((f"{level:03}.{suffix}", picture.getvalue()), (f"{level:03}.cls", text.encode())):
                item = tarfile.TarInfo(name)
                item.size = len(content)
                archive.addfile(item, io.BytesIO(content))
    return path


def levels(images: Images | Stream) -> list[int]:
    return [int(level) for level in next(images.batches(len(images)))[0][:, 0, 0, 0]]


def test_shards_are_named_by_a_pattern(tmp_path: Path) -> None:
    for i in range(3):
        write_shard(tmp_path / "sets" / f"train-{i:03}.tar", range(10 * i, 10 * i + 10))
    write_shard(tmp_path / "sets" / "val-000.tar", range(100, 104))
    write_shard(tmp_path / "sets" / "test-000.tar", range(200, 202))
    data = load_data(f"webdataset:{tmp_path}/sets/{{train,val}}-{{000..002}}.tar")
    assert (data.name, data.shape, data.classes) == ("sets", (3, 4, 4), ("0", "1"))
    assert (levels(data.train), levels(data.test)) == (list(range(30)), [100, 101, 102, 103])
    assert data.train.labels.tolist() == [0, 1] * 15
    every = load_data(f"webdataset:{tmp_path}/sets/*.tar")
    assert levels(every.test) == [200, 201]
    assert every.notices == (f"{tmp_path}/sets/*.tar: shards of val are not used",)
    assert len(load_data(f"webdataset:{tmp_path}/sets/{{train-000,test-000}}.tar").train) == 10


def test_folders_may_name_the_parts(tmp_path: Path) -> None:
    write_shard(tmp_path / "train" / "0.tar", range(4))
    write_shard(tmp_path / "validation" / "0.tar", range(50, 52))
    data = load_data(f"webdataset:{tmp_path}/*/0.tar")
    assert (levels(data.train), levels(data.test)) == ([0, 1, 2, 3], [50, 51])


def test_a_part_of_each_class_is_held_out(tmp_path: Path) -> None:
    write_shard(tmp_path / "shards" / "0.tar", range(40))
    spec = f"webdataset:{tmp_path}/shards/*.tar"
    data = load_data(spec)
    assert data.test.labels.bincount().tolist() == [2, 2]
    assert sorted(levels(data.train) + levels(data.test)) == list(range(40))
    assert data.described == {"name": "shards", "source": spec, "split": 0.1}
    assert "has no test shards: 10% of each class is held out (--split)" in data.notices[0]
    assert levels(load_data(spec).test) == levels(data.test)
    assert len(load_data(spec, split=0.5).test) == 20


def test_shards_that_do_not_fit_are_read_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shard(tmp_path / "train.tar", range(20))
    write_shard(tmp_path / "test.tar", range(5))
    spec = f"webdataset:{tmp_path}/*.tar"
    memory = load_data(spec)
    monkeypatch.setattr(own, "half_of_memory", lambda: 100)
    stream = load_data(spec)
    assert isinstance(memory.train, Images)
    assert isinstance(stream.train, Stream)
    for one, other in zip(memory.train.batches(8, seed=1), stream.train.batches(8, seed=1), strict=True):
        assert one[0].equal(other[0])
        assert one[1].equal(other[1])


def test_a_networks_size_and_rule(tmp_path: Path) -> None:
    write_shard(tmp_path / "train.tar", range(4), size=32)
    write_shard(tmp_path / "test.tar", range(4), size=48)
    network = NetworkInput((3, 8, 8), 2, crop=0.5)
    assert load_data(f"webdataset:{tmp_path}/*.tar", image_size=8, network=network).shape == (3, 8, 8)


def test_what_is_no_shard(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar file")
    write_shard(tmp_path / "b.tar", range(2), label="cat")
    write_shard(tmp_path / "c.tar", range(2), suffix="txt")
    with tarfile.open(tmp_path / "d.tar", "w") as archive:
        archive.add(write_shard(tmp_path / "x" / "e.tar", range(1)), "0.png")
    write_shard(tmp_path / "test.tar", range(2))
    for name, words in {
        "a": "a.tar: expected a tar file with whole numbers in KEY.cls, found: ",
        "b": "found: invalid literal for int() with base 10: b'cat'",
        "c": "expected images such as KEY.jpg, each with KEY.cls, found no image",
        "d": "found 1 images without one (0.png)",
        "f": "no file matches ",
        "test": "matches only test shards; let it match training shards too",
    }.items():
        with pytest.raises(DataError) as error:
            load_data(f"webdataset:{tmp_path}/{name}.tar")
        assert words in one_line(error)
    with pytest.raises(DataError, match=r"`split` 0.1: .* has shards of test; leave out `split`"):
        write_shard(tmp_path / "train.tar", range(2))
        load_data(f"webdataset:{tmp_path}/t*.tar", split=0.1)
    with pytest.raises(OptionError, match="expected webdataset:PATTERN"):
        load_data("webdataset", tmp_path)


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_cut_off_image_is_one_line(tmp_path: Path, share: float) -> None:
    picture = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(picture, "PNG")
    content = picture.getvalue()[: int(len(picture.getvalue()) * share)]
    with tarfile.open(tmp_path / "train.tar", "w") as archive:
        for name, data in (("0.png", content), ("0.cls", b"0")):
            item = tarfile.TarInfo(name)
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))
    write_shard(tmp_path / "test.tar", range(2))
    with pytest.raises(DataError) as error:
        load_data(f"webdataset:{tmp_path}/*.tar")
    assert ": train, item 0: found an image that is not whole: " in one_line(error)


def test_braces() -> None:
    assert list(sets._expanded("a-{08..10}.tar")) == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert list(sets._expanded("{a,b}{0..1}")) == ["a0", "a1", "b0", "b1"]
    assert list(sets._expanded("{train-{0..1},test-0}.tar")) == [
        "train-0.tar",
        "test-0.tar",
        "train-1.tar",
        "test-0.tar",
    ]
    assert sum(1 for _ in sets._expanded("{0..999999999999}")) == sets._MOST_SHARDS + 1
