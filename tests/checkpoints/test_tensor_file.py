"""Safetensors files tensor by tensor: the bytes of the library, and the tensors that it reads."""

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from prunectl.checkpoints.tensor_file import content, head_of, read_tensors

TENSORS = {
    "b": torch.arange(6.0).view(2, 3),
    "a": torch.arange(5, dtype=torch.int64),
    "scalar": torch.tensor(2.0),
    "none": torch.empty(0, 3),
    'ä "quoted"\n': torch.ones(3, dtype=torch.bfloat16),
    "bool": torch.tensor([True, False, True]),
    "double": torch.rand(3, dtype=torch.float64),
    "half": torch.rand(3).half(),
    "complex": torch.rand(2, dtype=torch.complex64),
}


def test_the_bytes_are_those_of_the_library() -> None:
    texts = {"prunectl": 'é "x" \\ \n \x01 😀'}
    parts = content(head_of(TENSORS, texts), TENSORS)
    assert b"".join(parts) == save(TENSORS, texts)


def test_a_tensor_that_is_not_contiguous_is_written_in_rows() -> None:
    turned = {"a": torch.arange(6.0).view(2, 3).T}
    assert b"".join(content(head_of(turned, {}), turned)) == save({"a": turned["a"].contiguous()}, {})


def test_what_is_read_is_what_the_library_reads(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(save(TENSORS, {"prunectl": "x"}))
    found, expected = read_tensors(path), load_file(path)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
        assert found[name].data_ptr() % 16 == 0


def test_tensors_that_overlap_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    data = save({"a": torch.ones(2), "b": torch.ones(2)}, {})
    path.write_bytes(data.replace(b"[8,16]", b"[0, 8]"))
    with pytest.raises(SafetensorError):
        read_tensors(path)
