"""Names of files, and the table of contents of one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from prunectl.checkpoints import header
from prunectl.checkpoints.header import read_header, read_toc
from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.names import base_name, beside, mask_path
from prunectl.errors import CheckpointError
from tests.helpers.checkpoint_parts import joined


@pytest.mark.parametrize(
    ("name", "base", "mask"),
    [
        ("x.safetensors", "x", "x.mask.safetensors"),
        ("x.st", "x", "x.mask.st"),
        ("x.prune.safetensors", "x.prune", "x.prune.mask.safetensors"),
        ("x", "x", "x.mask.safetensors"),
        ("x.pt", "x.pt", "x.pt.mask.safetensors"),
    ],
)
def test_names_beside_a_checkpoint(name, base, mask):
    path = Path("folder") / name
    assert base_name(path) == base
    assert mask_path(path) == Path("folder") / mask
    assert beside(path, ".results.jsonl") == Path("folder") / f"{base}.results.jsonl"


def test_table_of_contents(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.tensor([1, 2, 3], dtype=torch.uint8)}, path, {"k": "v"})
    toc = read_toc(path)
    (dtype, shape, begin, end) = toc.tensors["a"]
    assert (dtype, shape, end - begin) == ("U8", (3,), 3)
    assert toc.bytes_of("a") == bytes([1, 2, 3])
    assert toc.metadata == {"k": "v"}
    assert toc.size == path.stat().st_size == end


@pytest.mark.parametrize(
    "entry",
    [
        5,
        {},
        {"dtype": "U8", "shape": [3]},
        {"dtype": 8, "shape": [3], "data_offsets": [0, 3]},
        {"dtype": "U8", "shape": 3, "data_offsets": [0, 3]},
        {"dtype": "U8", "shape": ["3"], "data_offsets": [0, 3]},
        {"dtype": "U8", "shape": [-3], "data_offsets": [0, 3]},
        {"dtype": "U8", "shape": [3], "data_offsets": [0.0, 3]},
        {"dtype": "U8", "shape": [3], "data_offsets": [-1, 3]},
        {"dtype": "U8", "shape": [3], "data_offsets": [0, 3, 3]},
        {"dtype": "U8", "shape": [3], "data_offsets": [4, 3]},
        {"dtype": "U8", "shape": [3], "data_offsets": [10**30, 3]},
        {"dtype": "U8", "shape": [3], "data_offsets": "03"},
    ],
)
def test_a_table_of_contents_that_makes_no_sense(tmp_path, entry):
    path = tmp_path / "x.safetensors"
    path.write_bytes(joined({"__metadata__": {}, "a": entry}, b"abc"))
    with pytest.raises(CheckpointError) as error:
        read_toc(path)
    assert str(error.value) == f"{path} is not a safetensors file: its header cannot be read"


def test_a_file_without_tensors(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(save({}))
    assert read_toc(path).tensors == {}


def test_headers_of_equal_content_are_equal_text(written):
    head, _ = read_header(written / "masked.safetensors")
    assert header.Header.from_json(head.to_json(), Path("x")) == head
    assert head.to_json() == read_toc(written / "masked.safetensors").metadata["prunectl"]
    texts = {
        replace(head, history=(HistoryEntry("train", {"a": 1, "b": 2}),)).to_json(),
        replace(head, history=(HistoryEntry("train", {"b": 2, "a": 1}),)).to_json(),
    }
    assert len(texts) == 1
