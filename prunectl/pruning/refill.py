"""Nodes that go back where a budget leaves room for them."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from prunectl.structure.nodes import Structure
from prunectl.structure.order import node_kinds


def refilled(order: Tensor, structure: Structure, multiple_of: int, fits: Callable[[Tensor], bool]) -> Tensor:
    """The nodes in `order` (ids, the first that went first) without those that go back: bool (nodes,).

    The last that went goes back first, each where `fits` still holds. Where a node does not fit, others of equal costs
    are not tried, as costs only rise. Of every group, `multiple_of` nodes go back at a time.
    """
    removed = torch.zeros(structure.nodes, dtype=torch.bool).index_fill_(0, order, True)
    full: set[tuple[int, ...]] = set()
    kinds = node_kinds(structure)
    for nodes in _portions(order.flip(0), structure.groups, multiple_of):
        kind = tuple(sorted(kinds[nodes].tolist()))
        if kind not in full:
            fewer = removed.index_fill(0, nodes, False)
            if fits(fewer):
                removed = fewer
            else:
                full.add(kind)
    return removed


def _portions(best: Tensor, groups: Tensor, size: int) -> Iterator[Tensor]:
    """The ids that go back together: up to `size` of a group, in the order of the first of them."""
    portions: dict[tuple[int, int], list[int]] = {}
    seen: dict[int, int] = {}
    for node, group in zip(best.tolist(), groups[best].tolist(), strict=True):
        place = seen[group] = seen.get(group, -1) + 1
        portions.setdefault((group, place // size), []).append(node)
    return (torch.tensor(nodes) for nodes in portions.values())
