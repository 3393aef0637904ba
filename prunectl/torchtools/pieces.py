"""Large tensors in pieces, so that what an operation makes on its way is as small as a piece."""

from collections.abc import Iterator

import torch
from torch import Tensor

ENTRIES = 1 << 17
"""Of a piece: what is made of one stays within a core's cache, and freed memory in few sizes."""
ON_DEVICE = 1 << 20
"""Of a piece on a gpu, which waits for the counts of each."""


def pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same entries, in row-major order, of tensors of one size: views where a tensor is contiguous."""
    flat = [tensor.detach().reshape(-1) for tensor in tensors]
    size = ENTRIES if flat[0].device.type == "cpu" else ON_DEVICE
    for start in range(0, len(flat[0]), size):
        yield tuple(row[start : start + size] for row in flat)


def all_finite(tensor: Tensor) -> bool:
    """Whether every entry is a finite number."""
    return all(bool(piece.isfinite().all()) for (piece,) in pieces(tensor))


def largest_difference(one: Tensor, other: Tensor) -> float:
    """The largest difference of two entries at the same place, taken in float64; nan if there is any."""
    found = [(a.double() - b.double()).abs_().max() for a, b in pieces(one, other)]
    return float(torch.stack(found).max()) if found else 0.0
