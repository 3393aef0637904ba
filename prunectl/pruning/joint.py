"""Ranks weights and nodes together, with a cut that makes the weight sparsity exact."""

from bisect import bisect_left

import torch
from torch import Tensor, nn

from prunectl.masks import Masks, prunable
from prunectl.pruning.ranking import Ranking
from prunectl.scores import Scores
from prunectl.structure.node_masks import merged, node_masks
from prunectl.structure.nodes import Structure


def nodes_left(
    structure: Structure, model: nn.Module, scores: Scores, ranking: Ranking, alive: Masks, keep: int
) -> Masks:
    """Remove the nodes among the lowest-ranked of all alive weights and nodes, if `keep` weights stay.

    A removed node takes all its weights with it. The cut comes after the last node for which no more than the target is
    pruned; `select` then prunes the lowest-ranked weights up to the target. `ranking` is that of `scores.nodes`.
    """

    def without(count: int) -> Masks:
        return merged(alive, node_masks(structure, ranking.removed(count), model))

    def too_many(count: int) -> bool:
        """Whether cutting the ranking right after its node number `count` prunes more than the target."""
        threshold = float(_of(scores)[ranking.order[count - 1]])
        return _kept_from(threshold, scores, without(count), model) < keep

    nodes = bisect_left(range(1, len(ranking.order) + 1), True, key=too_many)
    return without(nodes)


def _of(scores: Scores) -> Tensor:
    """The scores of the nodes."""
    assert scores.nodes is not None
    return scores.nodes.cpu()


def _kept_from(threshold: float, scores: Scores, alive: Masks, model: nn.Module) -> int:
    """The number of prunable weights that are alive and score at least `threshold`."""
    kept = 0
    for name in prunable(model):
        high = scores[name] >= threshold
        kept += int(torch.count_nonzero(high & alive.of(name, high)))
    return kept
