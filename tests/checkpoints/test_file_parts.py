"""The bytes of files part by part, names that are taken, and hashes, one call at a time."""

import hashlib
import json
import os

import numpy as np
import pytest
from safetensors.numpy import load, save

from prunectl.checkpoints.files import (
    PLACES,
    begun,
    check_target,
    json_line,
    sha256,
    with_metadata,
    with_places,
    write,
    write_pair,
)
from tests.helpers.refusals import names, refusal


@pytest.fixture(params=["hard links", "no hard links"])
def links(request, monkeypatch) -> None:
    """A file system with and without them."""
    if request.param == "no hard links":

        def none(*_: object, **__: object) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "link", none)


@pytest.mark.usefixtures("links")
def test_a_new_name_is_taken_once(tmp_path):
    path = tmp_path / "x"
    write(path, [b"ab", memoryview(b"cd"), b""], force=False)
    assert path.read_bytes() == b"abcd"
    said = f"{path} exists: another program has just written it; nothing was changed"
    assert refusal(lambda: write(path, b"new", force=False)) == said
    assert path.read_bytes() == b"abcd"
    path.unlink()
    path.symlink_to("nowhere")
    assert refusal(lambda: write(path, b"new", force=False)) == said
    assert names(tmp_path) == ["x"]
    write(path, b"new")
    assert path.read_bytes() == b"new" and not path.is_symlink()


@pytest.mark.usefixtures("links")
def test_a_pair_whose_name_is_taken_leaves_the_earlier_one(tmp_path):
    path, sidecar = tmp_path / "x", tmp_path / "x.mask"
    write_pair(path, b"file", sidecar, b"mask", "aa", force=False)
    assert "another program has just written it" in refusal(
        lambda: write_pair(path, b"new", sidecar, b"new mask", "bb", force=False)
    )
    assert (path.read_bytes(), sidecar.read_bytes(), names(tmp_path)) == (b"file", b"mask", ["x", "x.mask"])


def test_an_error_without_a_text_of_the_system_says_what_it_says(tmp_path):
    def parts():
        yield b"half"
        raise OSError("the tensor is gone")

    path = tmp_path / "x"
    assert refusal(lambda: write(path, parts())) == f"cannot write {path}: the tensor is gone; nothing was changed"
    said = f"cannot write {path}: the tensor is gone; nothing was changed"
    assert refusal(lambda: write_pair(path, parts(), tmp_path / "m", b"mask", "aa")) == said
    assert names(tmp_path) == []


def test_what_to_do_about_a_target_is_said_by_the_caller(tmp_path):
    said = refusal(lambda: check_target(tmp_path, force=True, otherwise="move it away"))
    assert said == f"cannot write {tmp_path}: it is not a regular file; move it away"
    (tmp_path / "x").touch()
    said = refusal(lambda: check_target(tmp_path / "x", force=False, otherwise="move it away"))
    assert said == f"{tmp_path / 'x'} exists; move it away, or replace it with `force`"


def head_of(data: bytes) -> bytes:
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


@pytest.mark.parametrize("length", range(18))
def test_tensors_begin_at_a_multiple_of_eight(length):
    data = begun(b"x" * length)
    assert int.from_bytes(data[:8], "little") == len(data) - 8
    assert data[8:].rstrip(b" ") == b"x" * length
    assert len(data) % 8 == 0 and len(data) - 8 - length < 8


def test_texts_are_added_in_order_and_the_places_before_them():
    data = save({"a": np.arange(3.0), "b": np.arange(2)}, {"m": "1"})
    told = with_metadata(data, {"z": "2", "é": "3", "c": "4"})
    assert json.loads(head_of(told))["__metadata__"] == {"c": "4", "m": "1", "z": "2", "é": "3"}
    assert [*json.loads(head_of(told))["__metadata__"]] == ["c", "m", "z", "é"]
    assert load(told).keys() == {"a", "b"} and load(told)["a"].tolist() == [0, 1, 2]
    plain = with_metadata(save({"a": np.arange(3.0)}, None), {"z": "2"})
    assert head_of(plain).startswith(b'{"__metadata__":{"z":"2"},"a":')
    placed = with_places(told, 'é "x"')
    assert [*json.loads(head_of(placed))["__metadata__"]] == [PLACES, "c", "m", "z", "é"]
    assert json.loads(head_of(placed))["__metadata__"][PLACES] == 'é "x"'
    assert load(placed)["b"].tolist() == [0, 1]
    assert (8 + len(head_of(placed))) % 8 == 0


def test_numbers_that_are_not_finite_are_null_wherever_they_are():
    nan, inf = float("nan"), float("inf")
    record = {"a": nan, "b": [1.5, -inf, (inf, {"c": nan})], "d": "nan", "e": True, "f": None, "g": 2**70}
    assert json.loads(json_line(record)) == {
        **{"a": None, "b": [1.5, None, [None, {"c": None}]], "d": "nan"},
        **{"e": True, "f": None, "g": 2**70},
    }
    assert "\n" not in json_line({"a": "two\nlines"})


PLACED = b'{"__metadata__":{"prunectl.places":'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        b"\xff" * 40,  # a header of more bytes than there are
        (1 << 40).to_bytes(8, "little") + PLACED + b'"x","a":"b"}}',
        begun(PLACED + b"nothing that is JSON"),
        begun(b'{"__metadata__":{"a":"b"}}') + b"tensors",
    ],
)
def test_the_hash_of_a_file_without_places_is_that_of_its_bytes(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    assert sha256(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_the_hash_of_a_large_file_with_places_is_that_of_the_file_without_them(tmp_path):
    data = begun(b'{"__metadata__":{"a":"b"}}') + bytes(range(256)) * 9000  # more than is read at once
    for text in ("", "x", 'a "quoted" \\ place', "é" * 50):
        (tmp_path / "x").write_bytes(with_places(data, text))
        assert sha256(tmp_path / "x") == hashlib.sha256(data).hexdigest()
