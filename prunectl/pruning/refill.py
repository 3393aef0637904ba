"""Nodes that go back where a budget leaves room for them."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from prunectl.structure.nodes import FROZEN, Structure


def refilled(order: Tensor, structure: Structure, multiple_of: int, fits: Callable[[Tensor], bool]) -> Tensor:
    """The nodes in `order` (ids, the first that went first) without those that go back: bool (nodes,).

    The last that went goes back first, each where `fits` still holds. Where a node does not fit, others of equal costs
    are not tried, as costs only rise. Of every kind, `multiple_of` nodes go back at a time, and none where fewer went.
    """
    removed = torch.zeros(structure.nodes, dtype=torch.bool).index_fill_(0, order, True)
    full: set[tuple[int, ...]] = set()
    kinds = node_kinds(structure)
    for nodes in _portions(order.flip(0), kinds, multiple_of):
        kind = tuple(sorted(kinds[nodes].tolist()))
        if kind not in full:
            fewer = removed.index_fill(0, nodes, False)
            if fits(fewer):
                removed = fewer
            else:
                full.add(kind)
    return removed


def node_kinds(structure: Structure) -> Tensor:
    """A number for every node, int64 (nodes,), equal for nodes that take as many indices of the same axes."""
    kinds = torch.zeros(structure.nodes, dtype=torch.int64)
    axes = [*structure.axes.values(), *(classes for product in structure.products for classes in product.axes)]
    for classes in {axis.numpy().tobytes(): axis for axis in axes}.values():
        own = torch.bincount(classes[classes != FROZEN], minlength=structure.nodes)
        kinds = torch.unique(torch.stack([kinds, own]), dim=1, return_inverse=True)[1]
    return kinds


def _portions(best: Tensor, groups: Tensor, size: int) -> Iterator[Tensor]:
    """The ids that go back together: `size` of a group, in the order of the first of them."""
    portions: dict[tuple[int, int], list[int]] = {}
    seen: dict[int, int] = {}
    for node, group in zip(best.tolist(), groups[best].tolist(), strict=True):
        place = seen[group] = seen.get(group, -1) + 1
        portions.setdefault((group, place // size), []).append(node)
    return (torch.tensor(nodes) for nodes in portions.values() if len(nodes) == size)
