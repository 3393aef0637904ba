"""A checkpoint file taken apart, edited, put together again, and refused."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import read
from prunectl.checkpoints.history import HistoryEntry
from prunectl.errors import CheckpointError, PrunectlError
from prunectl.masks import Masks, prunable

JSON = dict[str, Any]
HISTORY = (
    HistoryEntry("train", {"epochs": 2, "lr": 0.1}),
    HistoryEntry("prune", {"data": {"name": "één 'x'\n"}}, {"accuracy": 0.5}, parent="ab"),
)


def random_masks(model: nn.Module, seed: int = 0) -> Masks:
    generator = torch.Generator().manual_seed(seed)
    return Masks({name: torch.rand(w.shape, generator=generator) < 0.5 for name, w in prunable(model).items()})


def parts(data: bytes) -> tuple[JSON, bytes]:
    """The JSON header of a safetensors file, the text of our own header read too, and its tensors' bytes."""
    end = 8 + struct.unpack("<Q", data[:8])[0]
    entries = json.loads(data[8:end])
    entries["__metadata__"]["prunectl"] = json.loads(entries["__metadata__"]["prunectl"])
    return entries, data[end:]


def joined(entries: JSON, tensors: bytes) -> bytes:
    metadata = entries.get("__metadata__")
    if isinstance(metadata, dict) and not isinstance(metadata.get("prunectl", ""), str):
        metadata = {**metadata, "prunectl": json.dumps(metadata["prunectl"])}
    text = json.dumps({**entries, "__metadata__": metadata}).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def change(path: Path, edit: Callable[[JSON], object]) -> None:
    """Edit our own header in a file."""
    entries, tensors = parts(path.read_bytes())
    edit(entries["__metadata__"]["prunectl"])
    path.write_bytes(joined(entries, tensors))


def refusal(path: Path, kind: type[PrunectlError] = CheckpointError) -> str:
    """The one line that a file is refused with."""
    with pytest.raises(kind) as error:
        read(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def put(*keys: Any) -> Callable[[JSON], None]:
    """An edit that sets the value of a nested key: put("model", "name", "x")."""

    def edit(head: JSON) -> None:
        *path, last, value = keys
        for key in path:
            head = head[key]
        head[last] = value

    return edit
