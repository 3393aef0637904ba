"""The distribution of weights and scores."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from prunectl.reporting.findings import Distribution
from prunectl.torchtools.pieces import pieces

_BINS = 60
_RANKS = 200
"""Points of the curve by rank, evenly spaced in the logarithm of the rank."""


def distribution(parts: Sequence[Tensor], *, kept: int) -> Distribution | None:
    """The distribution of the finite numbers in some tensors; None without any.

    They are copied once, as float32.
    """
    numbers, count = torch.empty(sum(part.numel() for part in parts)), 0
    for finite in (piece[torch.isfinite(piece)] for part in parts for (piece,) in pieces(part)):
        numbers[count : count + len(finite)] = finite
        count += len(finite)
    numbers = numbers[:count]
    if not count:
        return None
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = torch.linspace(low, high, _BINS + 1, dtype=torch.float64)
    counts = torch.zeros(_BINS, dtype=torch.int64)
    for (piece,) in pieces(numbers):
        places = ((piece.double() - low) / (high - low) * _BINS).long().clamp(0, _BINS - 1)
        counts += torch.bincount(places, minlength=_BINS)
    ordered = numbers.abs_().numpy()
    ordered.sort()  # in place
    ranks = torch.unique(torch.logspace(0, math.log10(count), _RANKS, dtype=torch.float64).round().long())
    ranked = tuple(zip(ranks.tolist(), ordered[count - ranks.clamp(1, count).numpy()].tolist(), strict=True))
    return Distribution(count, kept, tuple(edges.tolist()), tuple(counts.tolist()), ranked)


def read_scores(path: Path, masks: Mapping[str, Tensor], node_sparsity: float | None) -> Distribution | None:
    """The scores in a file: one tensor per parameter, or a vector `nodes`, of which `node_sparsity` is pruned.

    None if the file cannot be read or holds the scores of another network.
    """
    try:
        scores = load_file(path)
    except (SafetensorError, OSError):
        return None
    known = [score for name, score in scores.items() if name in masks and score.shape == masks[name].shape]
    if not known and node_sparsity is not None and "nodes" in scores:
        return distribution([scores["nodes"]], kept=round((1 - node_sparsity) * scores["nodes"].numel()))
    if not known:
        return None
    return distribution(known, kept=sum(int(mask.count_nonzero()) for mask in masks.values()))
