"""Ranks nodes for removal: counts are exact, none is revived, no axis becomes empty."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunectl.masks import Masks
from prunectl.plugins.registry import unknown
from prunectl.pruning.multiples import Multiples
from prunectl.pruning.select import lamp
from prunectl.pruning.sharing import sharing
from prunectl.scores import Scores
from prunectl.structure.nodes import FROZEN, Structure

NODE_SCOPES = ("global", "layer", "isomorphic", "erk", "lamp")
_EPSILON = 1e-9
"""The largest rounding error of a share times a size."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Removable nodes, in the order of removal: int64 ids (removable,) among the `alive` ones (bool, (nodes,))."""

    order: Tensor
    alive: Tensor
    multiples: Multiples | None = None

    def removed(self, count: int) -> Tensor:
        """The first `count` nodes, bool (nodes,); a larger count removes a superset.

        The number of kept nodes of every kind is rounded up to its multiple by keeping its last ones; if that exceeds
        the alive ones, it is rounded down by removing its next ones. A kind does not change if fewer nodes are alive,
        or if too many of them must stay.
        """
        chosen = self.order[:count]
        if self.multiples is not None:
            kinds = self.multiples.kinds[self.order]
            chosen = self.order[_places(kinds) < self._in_multiples(self.multiples, chosen)[kinds]]
        return torch.zeros_like(self.alive).index_fill_(0, chosen, True)

    def _in_multiples(self, multiples: Multiples, chosen: Tensor) -> Tensor:
        """The number of removed nodes of every kind, int64 (kinds,)."""
        kinds, size = multiples.kinds, multiples.steps
        alive = torch.bincount(kinds[self.alive], minlength=len(size))
        kept = alive - torch.bincount(kinds[chosen], minlength=len(size))
        free = torch.bincount(kinds[self.order], minlength=len(size))
        leave = alive - torch.minimum(-(-kept // size) * size, alive // size * size)
        leave -= -(-(leave - free).clamp_min(0) // size) * size
        return torch.where(alive < size, 0, leave.clamp_min(0))


def rank(
    structure: Structure,
    scores: Tensor,
    alive: Tensor,
    *,
    scope: str = "global",
    min_nodes: int = 1,
    multiples: Multiples | None = None,
    max_pruned: float = 1.0,
    staying: Tensor | None = None,
    unscored: Tensor | None = None,
    sizes: Tensor | None = None,
    model: nn.Module | None = None,
) -> Ranking:
    """Rank the `alive` nodes (bool, (nodes,)) by their scores (nodes,); among equal ones, later indices come first.

    Scope `global` ranks all nodes together, `layer` removes the same share of every group, `isomorphic` the same share
    of every set of isomorphic groups, `erk` keeps shares that fall with the size of the layers that output a group, and
    `lamp` ranks all nodes by their part of what is left of their group. `isomorphic` and `erk` need the `model`.

    These nodes stay and are left out: the best `min_nodes` of every axis, the best of every group beyond the share
    `max_pruned` of its size before any pruning, `sizes` (groups,), and the nodes `staying` (bool, (nodes,)), which
    count first in both and do not count in shares. The nodes `unscored` (bool, (nodes,)) are removed last.
    """
    if scope not in NODE_SCOPES:
        raise unknown("scope", scope, NODE_SCOPES)
    held = torch.zeros_like(alive) if staying is None else staying
    if scope == "lamp":
        scores = _lamp(structure, scores, alive & ~held if unscored is None else alive & ~held & ~unscored)
    best = torch.argsort(scores.cpu().double(), descending=True, stable=True)
    best = _first(best[alive[best]], unscored)
    held_first = _first(best, held)
    stays = _best_of_every_axis(structure, held_first, min_nodes)
    stays |= _best_of_every_group(structure, held_first, max_pruned, sizes)
    best = best[~held[best]]
    shares = sharing(scope, structure, model)
    if shares is not None:
        counts = torch.bincount(shares.parts[~held], minlength=len(shares.density)) * shares.density
        share = (_places(shares.parts[best]) + 0.5) / counts[shares.parts[best]]
        by_index = torch.argsort(best)  # among equal shares the earlier index stays
        best = _first(best[by_index[torch.argsort(share[by_index], stable=True)]], unscored)
    return Ranking(best[~stays[best]].flip(0), alive, multiples)


def _first(best: Tensor, among: Tensor | None) -> Tensor:
    """The same ids, with those in a set (bool, (nodes,)) first."""
    return best if among is None else torch.cat([best[among[best]], best[~among[best]]])


def _lamp(structure: Structure, scores: Tensor, among: Tensor) -> Tensor:
    """s² / Σ s² over the nodes of the group that score s or more: `select.lamp`, with groups instead of layers."""
    split = {str(group): structure.groups == group for group in range(int(structure.groups.max()) + 1)}
    adapted = lamp(
        Scores({group: scores.cpu()[nodes] for group, nodes in split.items()}),
        Masks({group: among[nodes] for group, nodes in split.items()}),
    )
    ranked = torch.zeros(structure.nodes, dtype=torch.float64)
    for group, nodes in split.items():
        ranked[nodes] = adapted[group]
    return ranked


def _best_of_every_group(structure: Structure, best: Tensor, most: float, sizes: Tensor | None) -> Tensor:
    """The nodes of `best` (ids of nodes) that stay, so that a group loses at most the share `most`: bool (nodes,)."""
    sizes = torch.bincount(structure.groups, minlength=1) if sizes is None else sizes
    left = torch.tensor([size - math.floor(most * size + _EPSILON) for size in sizes.tolist()])
    groups = structure.groups[best]
    return torch.zeros(structure.nodes, dtype=torch.bool).index_fill_(0, best[_places(groups) < left[groups]], True)


def _best_of_every_axis(structure: Structure, best: Tensor, count: int) -> Tensor:
    """The first `count` of `best` (ids of nodes) on every axis: bool (nodes,)."""
    place = torch.full((structure.nodes,), structure.nodes).index_copy_(0, best, torch.arange(len(best)))
    stays = torch.zeros(structure.nodes, dtype=torch.bool)
    axes = {classes.numpy().tobytes(): classes for classes in structure.axes.values()}
    for classes in axes.values():
        free = torch.unique(classes[classes != FROZEN])
        free = free[place[free] < structure.nodes]  # alive ones
        stays[free[torch.argsort(place[free])[:count]]] = True
    return stays


def _places(groups: Tensor) -> Tensor:
    """For every entry, the number of earlier entries of the same group."""
    order = torch.argsort(groups, stable=True)
    firsts = torch.searchsorted(groups[order], groups[order])
    return torch.empty_like(groups).index_copy_(0, order, torch.arange(len(groups)) - firsts)
