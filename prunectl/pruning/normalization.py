"""Puts scores of nodes on one scale, so that nodes of different groups are comparable."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from prunectl.checkpoints.options.pruning import NORMALIZATIONS
from prunectl.plugins.registry import unknown
from prunectl.structure.nodes import Structure

Statistic = Callable[[Tensor, Tensor, int], Tensor]
"""Maps |scores| (n,), their groups (n,) and the number of groups to the divisor of each group's scores, (groups,)."""


def normalized(how: str, scores: Tensor, alive: Tensor, structure: Structure) -> Tensor:
    """Scores (nodes,) divided by a statistic of their group over its `alive` nodes (bool, (nodes,)); float64 (nodes,).

    `mean` and `max` take |s|: Î = N s / Σ TopN(|s|) of Fang et al. 2023 (DepGraph, arXiv:2301.12900, section 3.3), with
    the size of the group as N, or 1. `l2` takes sqrt(Σ s²): Molchanov et al. 2017 (arXiv:1611.06440, section 2.2).
    `gaussian` is the standard score, (s - mean) / deviation over the group. `flops` divides by the FLOPs that the
    network saves without the node. A statistic of 0 counts as 1; `none` does not change the scores.

    Raises:
        UnknownName: none of them.
    """
    if how not in NORMALIZATIONS:
        raise unknown("normalization", how, NORMALIZATIONS)
    values = scores.detach().cpu().double()
    if how == "none":
        return values
    if how == "flops":
        return values / saved_flops(structure, ~alive).clamp_min(1)
    groups, among = structure.groups, structure.groups[alive]
    count = int(groups.max()) + 1
    if how == "gaussian":
        values = values - _mean(values[alive], among, count)[groups]
    scale = _STATISTICS[how](values[alive].abs(), among, count)
    return values / scale.where(scale > 0, 1)[groups]


def saved_flops(structure: Structure, gone: Tensor) -> Tensor:
    """FLOPs per image that removing each single node saves in the network without those `gone`: float64 (nodes,).

    In a product of lengths, a length L falls to L - m if m of its indices belong to the node.
    """
    away, saved = structure.gone(gone), torch.zeros(structure.nodes + 1, dtype=torch.float64)
    for product in structure.products:
        left = [classes[~away[classes]] for classes in product.axes]
        rest = torch.ones(structure.nodes + 1, dtype=torch.float64)
        for classes in left:
            own = torch.bincount(classes % len(rest), minlength=len(rest)).double()  # FROZEN, -1, is the last
            rest *= 1 - own / max(len(classes), 1)
        saved += 2 * product.factor * prod(map(len, left)) * (1 - rest)
    return saved[:-1]


def _mean(values: Tensor, groups: Tensor, count: int) -> Tensor:
    total = torch.zeros(count, dtype=torch.float64).index_add_(0, groups, values)
    return total / torch.bincount(groups, minlength=count).clamp_min(1)


def _largest(values: Tensor, groups: Tensor, count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.float64).scatter_reduce_(0, groups, values, "amax")


def _norm(values: Tensor, groups: Tensor, count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.float64).index_add_(0, groups, values.square()).sqrt()


def _deviation(values: Tensor, groups: Tensor, count: int) -> Tensor:
    return _mean(values.square(), groups, count).sqrt()


_STATISTICS: dict[str, Statistic] = {"mean": _mean, "max": _largest, "l2": _norm, "gaussian": _deviation}
