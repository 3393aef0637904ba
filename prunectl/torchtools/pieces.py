"""Splits large tensors into pieces, so that an operation's temporaries are as small as a piece."""

from collections.abc import Iterator

import torch
from torch import Tensor

ENTRIES = 1 << 17
"""Entries of a piece: its temporaries stay in a core's cache, and freed memory comes in few sizes."""
ON_DEVICE = 1 << 20
"""Entries of a piece on a gpu, which has to wait for every piece's counts."""


def pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Matching pieces of tensors of one size, in row-major order; views if a tensor is contiguous."""
    flat = [tensor.detach().reshape(-1) for tensor in tensors]
    size = ENTRIES if flat[0].device.type == "cpu" else ON_DEVICE
    for start in range(0, len(flat[0]), size):
        yield tuple(row[start : start + size] for row in flat)


def all_finite(tensor: Tensor) -> bool:
    """Whether every entry is a finite number."""
    return all(bool(piece.isfinite().all()) for (piece,) in pieces(tensor))


def largest_difference(one: Tensor, other: Tensor) -> float:
    """The largest difference of two entries at the same place, in float64; nan if there is any nan."""
    found = [(a.double() - b.double()).abs_().max() for a, b in pieces(one, other)]
    return float(torch.stack(found).max()) if found else 0.0
