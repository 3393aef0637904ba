"""Weights and nodes, ranked together."""

import torch

from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.pruning.connected import select_connected
from prunectl.pruning.joint import nodes_left
from prunectl.pruning.units.base import criteria_for_nodes
from prunectl.pruning.units.with_nodes import WithNodes
from prunectl.scores import Scores


class Both(WithNodes):
    """Weights and nodes are pruned, ranked together; the sparsity is that of weights."""

    def check(self, sparsity: float | None) -> None:
        """Refuse a scope other than global, and a threshold."""
        if self.scope != "global":
            raise OptionError(f"weights and nodes are ranked together and need `scope` global, got '{self.scope}'")
        if self.threshold is not None:
            raise OptionError("weights and nodes are ranked together; use `sparsity` instead of `threshold`")
        if self.rules.normalize not in (None, "none"):
            raise OptionError(
                "weights and nodes are compared without normalisation and need `normalize` none, got "
                f"'{self.rules.normalize}'"
            )
        if self.rules.multiple_of != 1:
            raise OptionError(
                "pruned weights can remove more nodes, so widths cannot be set; `multiple_of` is for "
                f"criteria that prune only nodes ({criteria_for_nodes()})"
            )
        super().check(sparsity)

    def select(self, scores: Scores, sparsity: float) -> Masks:
        """Keep an exact count of weights."""
        keep, shape = self.keep(sparsity), self.checkpoint.spec.input
        left = nodes_left(self.structure, self.model, self._last(scores), self.ranking(scores), self.masks, keep)
        kept = select_connected(self.model, shape, self.free(scores), left, keep - self.protected_weights)
        return Masks({**left, **kept})

    def _last(self, scores: Scores) -> Scores:
        """The scores, with the weights of the layers that stay above all others."""
        if not self.protected or scores.nodes is None:
            return scores
        top = max(float(score.max()) for score in (*scores.values(), scores.nodes))
        return Scores(
            {name: torch.full_like(s, top) if name in self.protected else s for name, s in scores.items()}, scores.nodes
        )
