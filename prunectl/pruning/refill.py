"""Nodes that go back where a budget leaves room for them."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from prunectl.pruning.ranking import Ranking
from prunectl.structure.nodes import FROZEN, Structure


def refilled(ranking: Ranking, removed: Tensor, kinds: Tensor, fits: Callable[[Tensor], bool]) -> Tensor:
    """The `removed` nodes (bool, (nodes,)) without those that go back: best first, each where `fits` still holds.

    `kinds` (nodes,) is equal for nodes of equal costs: where one does not fit, its like is not tried, as costs only
    rise. Of groups in multiples, a multiple goes back at a time.
    """
    full: set[tuple[int, ...]] = set()
    for nodes in _portions(ranking, removed):
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


def _portions(ranking: Ranking, removed: Tensor) -> Iterator[Tensor]:
    """The ids of removed nodes that go back together, the best first."""
    best = ranking.order.flip(0)
    best = best[removed[best]]
    portions: dict[tuple[int, int], list[int]] = {}
    seen: dict[int, int] = {}
    for node, group in zip(best.tolist(), ranking.groups[best].tolist(), strict=True):
        place = seen[group] = seen.get(group, -1) + 1
        portions.setdefault((group, place // ranking.multiple_of), []).append(node)
    return (torch.tensor(nodes) for nodes in portions.values())
