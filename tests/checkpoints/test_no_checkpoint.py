"""What is no checkpoint is refused in one line."""

import os
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from prunectl.errors import FileError
from tests.helpers.checkpoint_parts import joined, refusal


def test_a_missing_file(tmp_path):
    path = tmp_path / "x.safetensors"
    assert refusal(path, FileError) == f"cannot read {path}: no such file or directory; check the path"


def test_a_folder(tmp_path):
    assert refusal(tmp_path, FileError) == f"{tmp_path} is a folder; use a checkpoint file (*.safetensors)"


def test_a_file_that_may_not_be_read(folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    path = folder / "dense.safetensors"
    assert refusal(path, FileError) == f"cannot read {path}: permission denied"


NO_HEADER = "has no 'prunectl' header: another program wrote it; import it: prunectl import "
OF_TORCH = "holds PyTorch weights, not a prunectl checkpoint; import it: prunectl import "


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty: the program that wrote it failed; use an intact copy"),
        (b"PK\x03", "is not a safetensors file, or its header is truncated"),
        (b"PK\x03\x04" + bytes(100), OF_TORCH),
        (b"\x80\x02}q\x00(X" + bytes(100), OF_TORCH),
        (b"x" * 100, "is not a safetensors file, or its header is truncated"),
        (b"\xff" * 8, "is not a safetensors file, or its header is truncated"),
        (bytes(100), "is not a safetensors file: its header cannot be read"),
        (struct.pack("<Q", 4) + b"nope", "is not a safetensors file: its header cannot be read"),
        (struct.pack("<Q", 2) + b"[]", "is not a safetensors file: its header cannot be read"),
        (struct.pack("<Q", 2) + b"{}", NO_HEADER),
        (save({"a": torch.ones(2)}), NO_HEADER),
        (save({"a": torch.ones(2)}, {"format": "pt"}), NO_HEADER),
        (joined({"__metadata__": 5}, b""), "is not a safetensors file: its header cannot be read"),
        (joined({"__metadata__": ["prunectl"]}, b""), "is not a safetensors file: its header cannot be read"),
        (joined({"__metadata__": {"prunectl": "{"}}, b""), None),
        (joined({"__metadata__": {"prunectl": '{"model"'}}, b""), None),
    ],
)
def test_what_is_no_checkpoint(tmp_path, data, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    found = refusal(path)
    assert found.startswith(str(path))
    if message is not None:
        whole = f"{path} {message}"
        assert found == (f"{whole}{path} --model NAME -o NEW.safetensors" if whole.endswith(" ") else whole)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_random_bytes_are_no_checkpoint(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "random.safetensors"
    path.write_bytes(data)
    assert str(path) in refusal(path)


@pytest.mark.parametrize("name", ["masked.mask.safetensors", "renamed.safetensors"])
def test_a_mask_file_is_no_checkpoint(folder, name):
    path = (folder / "masked.mask.safetensors").rename(folder / name)
    expected = f"{path} is a mask file; use the NAME.safetensors beside it"
    assert refusal(path) == expected
