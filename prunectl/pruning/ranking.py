"""The order in which nodes are removed: counts are exact, none is revived, no axis becomes empty."""

from dataclasses import dataclass

import torch
from torch import Tensor

from prunectl.plugins.registry import unknown
from prunectl.structure.nodes import FROZEN, Structure

NODE_SCOPES = ("global", "layer")


@dataclass(frozen=True, eq=False)
class Ranking:
    """Removable nodes, the first to go first: int64 ids (removable,) among the `alive` ones (bool, (nodes,))."""

    order: Tensor
    alive: Tensor
    groups: Tensor
    multiple_of: int = 1

    def removed(self, count: int) -> Tensor:
        """The first `count` nodes, bool (nodes,); more of them are a superset of fewer.

        The number kept in every group is rounded up to a multiple of `multiple_of`, by giving back the group's last
        ones; a group that has fewer alive stays as it is.
        """
        chosen = self.order[:count]
        if self.multiple_of > 1:
            left = torch.bincount(self.groups[self.alive], minlength=1)
            kept = left - torch.bincount(self.groups[chosen], minlength=len(left))
            rounded = -(-kept // self.multiple_of) * self.multiple_of
            leave = torch.where(left < self.multiple_of, 0, (left - rounded).clamp_min(0))
            chosen = chosen[_places(self.groups[chosen]) < leave[self.groups[chosen]]]
        return torch.zeros_like(self.alive).index_fill_(0, chosen, True)


def rank(
    structure: Structure,
    scores: Tensor,
    alive: Tensor,
    *,
    scope: str = "global",
    min_nodes: int = 1,
    multiple_of: int = 1,
    staying: Tensor | None = None,
) -> Ranking:
    """Rank the `alive` nodes (bool, (nodes,)) by their scores (nodes,); of equal ones the later index goes first.

    Scope `global` ranks all nodes together, `layer` takes the same share of every group. The nodes `staying` (bool,
    (nodes,)) are left out of the ranking and of the shares. The best `min_nodes` of every axis are left out too, where
    those that stay anyway count first.
    """
    if scope not in NODE_SCOPES:
        raise unknown("scope", scope, NODE_SCOPES)
    best = torch.argsort(scores.cpu().double(), descending=True, stable=True)
    best = best[alive[best]]
    held = torch.zeros_like(alive) if staying is None else staying
    stays = _best_of_every_axis(structure, torch.cat([best[held[best]], best[~held[best]]]), min_nodes)
    best = best[~held[best]]
    if scope == "layer":
        sizes = torch.bincount(structure.groups[~held], minlength=1)
        share = (_places(structure.groups[best]) + 0.5) / sizes[structure.groups[best]].double()
        by_index = torch.argsort(best)  # of equal shares the earlier index stays
        best = best[by_index[torch.argsort(share[by_index], stable=True)]]
    return Ranking(best[~stays[best]].flip(0), alive, structure.groups, multiple_of)


def _best_of_every_axis(structure: Structure, best: Tensor, count: int) -> Tensor:
    """The first `count` of `best` (ids of nodes) on every axis: bool (nodes,)."""
    place = torch.full((structure.nodes,), structure.nodes).index_copy_(0, best, torch.arange(len(best)))
    stays = torch.zeros(structure.nodes, dtype=torch.bool)
    axes = {classes.numpy().tobytes(): classes for classes in structure.axes.values()}
    for classes in axes.values():
        free = torch.unique(classes[classes != FROZEN])
        free = free[place[free] < structure.nodes]  # those that are alive
        stays[free[torch.argsort(place[free])[:count]]] = True
    return stays


def _places(groups: Tensor) -> Tensor:
    """How many entries before it are of the same group, for every entry."""
    order = torch.argsort(groups, stable=True)
    firsts = torch.searchsorted(groups[order], groups[order])
    return torch.empty_like(groups).index_copy_(0, order, torch.arange(len(groups)) - firsts)
