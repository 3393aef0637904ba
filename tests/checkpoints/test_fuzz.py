"""Whatever the bytes, a failure is one line."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunectl.checkpoints.checkpoint import Checkpoint, read
from prunectl.errors import PrunectlError
from tests.helpers.checkpoint_parts import joined, parts
from tests.helpers.mutations import places


def survives(path: Path) -> None:
    try:
        checkpoint = read(path)
    except PrunectlError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(checkpoint, Checkpoint)


NAMES = st.sampled_from(["dense.safetensors", "masked.safetensors", "masked.mask.safetensors"])
ODD = st.sampled_from([None, True, -1, 0, 1, 2.5, 10**30, "", "x", ":", "a/b", "..", "\0", "\ud800", [], [1], {}])


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_changed_bytes_in_a_header(written, tmp_path_factory, data):
    name = data.draw(NAMES)
    whole = bytearray((written / name).read_bytes())
    header_end = 8 + struct.unpack("<Q", whole[:8])[0]
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, header_end - 1))] = data.draw(st.integers(0, 255))
    survives(put_beside(written, tmp_path_factory, name, bytes(whole)))


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_a_piece_cut_out_of_a_header(written, tmp_path_factory, data):
    name = data.draw(NAMES)
    whole = (written / name).read_bytes()
    header_end = 8 + struct.unpack("<Q", whole[:8])[0]
    begin = data.draw(st.integers(8, header_end - 1))
    end = data.draw(st.integers(begin + 1, min(begin + 40, header_end)))
    text = whole[8:begin] + whole[end:header_end]
    survives(put_beside(written, tmp_path_factory, name, struct.pack("<Q", len(text)) + text + whole[header_end:]))


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_any_value_of_a_header_replaced(written, tmp_path_factory, data):
    name = data.draw(NAMES)
    entries, tensors = parts((written / name).read_bytes())
    *path, last = data.draw(st.sampled_from(list(places(entries))))
    parent = entries
    for key in path:
        parent = parent[key]
    parent[last] = data.draw(ODD)
    survives(put_beside(written, tmp_path_factory, name, joined(entries, tensors)))


def put_beside(written: Path, factory: pytest.TempPathFactory, name: str, data: bytes) -> Path:
    """A folder of the written files with one replaced by `data`; the checkpoint in it that is to be read."""
    folder = factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    for path in written.iterdir():
        (folder / path.name).write_bytes(data if path.name == name else path.read_bytes())
    return folder / f"{name.split('.', maxsplit=1)[0]}.safetensors"
