"""Writes and reads safetensors files one tensor at a time, so that memory never holds a second copy."""

import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, load_file, save
from torch import Tensor

from prunectl.checkpoints.files import begun
from prunectl.checkpoints.header import read_toc
from prunectl.torchtools.digest import raw


def head_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes before the first tensor, identical to those of `safetensors.torch.save`.

    It uses only types and shapes of the tensors.
    """
    empty = save({name: torch.empty(0, dtype=tensor.dtype) for name, tensor in tensors.items()}, dict(metadata))
    head, begin = _json(empty), 0
    for name, entry in head.items():
        if name in tensors:
            end = begin + tensors[name].numel() * tensors[name].element_size()
            entry |= {"shape": list(tensors[name].shape), "data_offsets": [begin, end]}
            begin = end
    return begun(json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode())


def content(head: bytes, tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """The whole file, part by part; each tensor is requested when it is written."""
    yield head
    for name in _json(head):
        if name in tensors:
            yield raw(tensors[name])


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, each a copy in memory.

    In a file they may start at any byte, and torch's sums over unaligned tensors can differ in the last bit; a network
    must compute the same after it was read.

    Raises:
        FileError, CheckpointError, SafetensorError, OSError: the file cannot be read, or is not a safetensors file.
    """
    with safe_open(path, "pt"):  # checks that tensors neither overlap nor leave gaps
        toc = read_toc(path)
    found = {}
    with path.open("rb") as file:
        for name, (kind, shape, begin, end) in sorted(toc.tensors.items(), key=lambda item: item[1][2:]):
            tensor = torch.empty(shape, dtype=_type(kind))
            file.seek(begin)
            if file.readinto(raw(tensor)) != end - begin:
                raise OSError(f"{name} is cut off")
            found[name] = tensor
    return found


def map_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, mapped: they take memory of their own only where something writes to them.

    Raises:
        FileError, CheckpointError, SafetensorError, OSError: as `read_tensors`.
    """
    if os.name == "nt":  # Windows cannot replace a mapped file
        return read_tensors(path)
    read_toc(path)
    return load_file(path)


@cache
def _type(kind: str) -> torch.dtype:
    """The torch type for a type name of the library; some of its types have none."""
    head = json.dumps({"x": {"dtype": kind, "shape": [0], "data_offsets": [0, 0]}}).encode()
    try:
        return load(begun(head))["x"].dtype
    except KeyError as error:
        raise SafetensorError(f"its numbers of type {kind} cannot be read") from error


def _json(data: bytes) -> dict[str, dict[str, object]]:
    """The descriptions of the tensors in a file's header."""
    found: dict[str, dict[str, object]] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return found
