"""Adds nodes back if a budget leaves room."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from prunectl.pruning.multiples import Multiples


def refilled(order: Tensor, multiples: Multiples, fits: Callable[[Tensor], bool]) -> Tensor:
    """The nodes in `order` (ids, in the order of removal) without those that are added back: bool (nodes,).

    The node that was removed last is added back first, if `fits` still holds. If a node does not fit, others with equal
    costs are not tried, because costs only rise. Nodes of a kind are added back in its multiple, and none if fewer were
    removed.
    """
    removed = torch.zeros(len(multiples.kinds), dtype=torch.bool).index_fill_(0, order, True)
    full: set[int] = set()
    for nodes in _portions(order.flip(0), multiples):
        kind = int(multiples.kinds[nodes[0]])
        if kind not in full:
            fewer = removed.index_fill(0, nodes, False)
            if fits(fewer):
                removed = fewer
            else:
                full.add(kind)
    return removed


def _portions(best: Tensor, multiples: Multiples) -> Iterator[Tensor]:
    """Groups of ids to add back together: a multiple of each kind, in the order of their first id."""
    portions: dict[tuple[int, int], list[int]] = {}
    seen: dict[int, int] = {}
    steps = multiples.steps.tolist()
    for node, kind in zip(best.tolist(), multiples.kinds[best].tolist(), strict=True):
        place = seen[kind] = seen.get(kind, -1) + 1
        portions.setdefault((kind, place // steps[kind]), []).append(node)
    return (torch.tensor(nodes) for (kind, _), nodes in portions.items() if len(nodes) == steps[kind])
