"""The largest share of a group that pruning may remove, and the groups that it leaves thin."""

import math

import torch
from torch import Tensor

from prunectl.structure.nodes import FROZEN, Structure

CEILING = 0.9
"""The default for the share of a group that may be removed."""
_LEAST_PART = 0.25
"""A group keeps at least this part of the share that all nodes keep."""
THIN = 0.1
"""Share of a group's nodes below which it is thin."""


def ceiling_for(sparsity: float) -> float:
    """The ceiling at a node sparsity: 0.9, or more if that would leave the ranking no choice."""
    return round(max(CEILING, 1 - _LEAST_PART * (1 - sparsity)), 4)


def sparsity_for(share: float) -> float:
    """The approximate node sparsity that leaves a share of the costs: a layer's costs are inputs times outputs."""
    return 1 - math.sqrt(min(share, 1.0))


def thin_groups(structure: Structure, gone: Tensor, sizes: Tensor) -> list[str]:
    """The groups that keep less than a tenth of their nodes, as texts such as `fc1: 1 of 120`.

    `gone` (bool, (nodes,)) are the removed nodes, `sizes` (groups,) the sizes of the groups before any pruning.
    """
    left = torch.bincount(structure.groups[~gone], minlength=len(sizes))
    names = group_names(structure)
    return [f"{names[i]}: {left[i]} of {sizes[i]}" for i in torch.nonzero(left < THIN * sizes).flatten().tolist()]


def group_names(structure: Structure) -> dict[int, str]:
    """The name of every group: the first layer that outputs its nodes, else the first that has them."""
    names: dict[int, str] = {}
    for makes in (True, False):
        for (name, axis), classes in structure.axes.items():
            free = classes[classes != FROZEN]
            if len(free) and makes == ((name, axis) not in structure.consumers):
                names.setdefault(int(structure.groups[free[0]]), name.rpartition(".")[0] or name)
    return names
