"""Hashes tensors, to recognise a network."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def digest(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 over names and bytes, in the order of the names; each tensor is read once."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(raw(tensors[name]))
    return found.hexdigest()


def raw(tensor: Tensor) -> memoryview:
    """The bytes of a tensor in row-major order, without a copy if it is contiguous and on the cpu."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data
