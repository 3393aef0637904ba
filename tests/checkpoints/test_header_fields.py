"""What a header says, and tables of contents that do not fit their file."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from prunectl.checkpoints.header import DenseCounts, Header, ModelSpec, Resize, read_toc
from prunectl.errors import CheckpointError

HEAD = Header(ModelSpec("mlp5", (1, 2, 2), 2), "digits", (0.5,), (0.25,), DenseCounts(10, 8, 3, 16), 8)
ENTRY = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


@pytest.mark.parametrize(
    ("size", "crop", "shorter"), [(224, 0.875, 256), (224, 224 / 232, 232), (32, 1.0, 32), (10, 0.3, 33)]
)
def test_the_shorter_side_is_the_size_over_the_crop(size, crop, shorter):
    assert Resize(size, crop).shorter_side == shorter


@pytest.mark.parametrize(
    ("change", "schema"),
    [
        ({}, 1),
        ({"names": ("cat", "dog")}, 2),
        ({"resize": Resize(224)}, 2),
        ({"normalisation_known": False}, 3),
        ({"names": ("cat", "dog"), "normalisation_known": False}, 3),
    ],
)
def test_a_header_is_written_as_the_first_schema_that_holds_it_and_read_again(change, schema):
    head = replace(HEAD, **change)
    assert json.loads(head.to_json())["schema"] == schema
    assert Header.from_json(head.to_json(), Path("x")) == head


def written(path: Path, entries: dict, data: int, *, length: int | None = None) -> Path:
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + bytes(data))
    return path


def test_a_table_of_contents_is_read(tmp_path):
    toc = read_toc(written(tmp_path / "x", {"a": ENTRY}, 24))
    (dtype, shape, begin, end) = toc.tensors["a"]
    assert (dtype, shape, end - begin, end) == ("F32", (2, 3), 24, toc.size)
    assert read_toc(written(tmp_path / "y", {}, 0)).tensors == {}


@pytest.mark.parametrize(
    "entry",
    [
        {**ENTRY, "dtype": "F64"},
        {**ENTRY, "shape": [2, 2]},
        {**ENTRY, "dtype": 3},
        {**ENTRY, "data_offsets": [24, 0]},
        {**ENTRY, "shape": [-2, -3]},
    ],
)
def test_an_entry_that_does_not_fit_its_bytes_is_refused(entry, tmp_path):
    with pytest.raises(CheckpointError, match="its header cannot be read"):
        read_toc(written(tmp_path / "x", {"a": entry}, 24))


@pytest.mark.parametrize("data", [0, 23, 25])
def test_bytes_too_many_or_too_few_are_refused(data, tmp_path):
    with pytest.raises(CheckpointError, match="copy it again"):
        read_toc(written(tmp_path / "x", {"a": ENTRY}, data))
    with pytest.raises(CheckpointError, match="copy it again"):
        read_toc(written(tmp_path / "y", {}, data + 1))


@pytest.mark.parametrize("more", [1, 8, 9, 1 << 40])
def test_a_header_beyond_the_end_of_the_file_is_refused(more, tmp_path):
    text = json.dumps({"a": {**ENTRY, "shape": [0], "data_offsets": [0, 0]}})
    with pytest.raises(CheckpointError, match="its header is truncated"):
        read_toc(written(tmp_path / "x", json.loads(text), 0, length=len(text) + more))
