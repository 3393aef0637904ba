"""The base of all units of pruning: a network with its masks, and its sparsity in weights, nodes or both."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.criteria.base.criterion import criterion_named
from prunectl.errors import OptionError
from prunectl.masks import Masks, prunable
from prunectl.plugins.registry import TABLES
from prunectl.pruning.connected import unreached_classes
from prunectl.pruning.rules import SelectionRules
from prunectl.scores import Scores
from prunectl.structure.keep import parameters_named


class Unit(ABC):
    """A network that is pruned in place, and its current `masks`; `model` has the checkpoint's parameters."""

    word = "weight"

    def __init__(self, checkpoint: Checkpoint, model: nn.Module, how: SelectionRules) -> None:
        self.checkpoint, self.model, self.how = checkpoint, model, how
        self.scope, self.rules, self.budget, self.threshold = how.scope, how.rules, how.budget, how.threshold
        self.masks = checkpoint.masks
        self._zero_()
        self.protected = parameters_named(model, how.keep)
        """The parameters of the layers that stay."""
        self.returned: dict[str, Tensor] = {}
        """The entries that were reset when the masks were last replaced, bool, by parameter."""

    def apply_(self, masks: Masks, anew: Mapping[str, Tensor] | None = None) -> None:
        """Replace the masks, and set pruned entries to zero; `anew` are entries of `Scores.anew`."""
        self.masks = masks
        self._zero_()

    def set_(self, values: Mapping[str, Tensor]) -> None:
        """Set weights to new values, except in the layers that stay, and set pruned entries to zero."""
        with torch.no_grad():
            for name in values.keys() - self.protected:
                self.model.get_parameter(name).copy_(values[name])
        self._zero_()

    def _zero_(self) -> None:
        """Set pruned entries to zero."""
        self.masks.apply_(self.model)

    def inputs(self, progress: float) -> tuple[Any, ...]:
        """The arguments of a scorer after model and batches; `progress` is as in `Round`."""
        return ()

    @property
    def total(self) -> int:
        """The number in the original dense network."""
        return self.checkpoint.dense.weights

    @property
    def kept(self) -> int:
        """The number currently kept."""
        return self.masks.kept(self.model)

    @property
    def sparsity(self) -> float:
        """The current sparsity."""
        return 1 - self.kept / self.total

    def keep(self, sparsity: float) -> int:
        """The number kept at a sparsity."""
        return self.total - round(sparsity * self.total)

    def check(self, sparsity: float | None) -> None:
        """Refuse a sparsity or budget that is already reached or that this unit does not support."""
        if self.budget is not None:
            raise OptionError(
                f"`{self.budget.kind}` is a target for criteria that prune nodes ({criteria_for_nodes()}); this "
                "one prunes weights; use `sparsity`, or add `unit` nodes"
            )
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise OptionError(f"`threshold` must be a number to compare scores with, got {self.threshold}")
        if self.threshold is not None and self.scope != "global":
            raise OptionError(f"`threshold` is one number for all scores and needs `scope` global, got '{self.scope}'")
        self.check_keep(sparsity)
        if sparsity is not None and self.keep(sparsity) >= self.kept:
            raise OptionError(
                f"the network already has {self.word} sparsity {self.sparsity:.4g}, {sparsity:.15g} was requested; "
                "use a higher one"
            )

    @property
    def protected_weights(self) -> int:
        """The current number of weights in the layers that stay."""
        weights = prunable(self.model)
        return sum(self.masks.count(name, weights[name]) for name in self.protected & weights.keys())

    def free(self, scores: Scores) -> Scores:
        """The scores without those of the layers that stay."""
        if not self.protected:
            return scores
        return Scores({name: score for name, score in scores.items() if name not in self.protected}, scores.nodes)

    def check_keep(self, sparsity: float | None) -> None:
        """Refuse `keep` if it leaves too little to prune."""
        free = len(prunable(self.model).keys() - self.protected)
        if not free:
            raise OptionError("`keep` covers all layers with weights, so nothing can be pruned; keep fewer layers")
        least = self.protected_weights + free  # one weight per other layer
        if self.protected and sparsity is not None and self.keep(sparsity) < least:
            most = math.floor(1e4 * (1 - least / self.total)) / 1e4
            raise OptionError(
                f"weight sparsity {sparsity:.15g} was requested, but {most:.4g} is the maximum with "
                f"{self.protected_weights:,} of {self.total:,} weights in the layers of `keep`; "
                "use a lower one, or keep fewer layers"
            )

    def comparable(self, scores: Scores) -> Scores:
        """The scores in the form for ranking."""
        return scores

    @abstractmethod
    def select(self, scores: Scores, sparsity: float) -> Masks:
        """The masks at a sparsity, with the lowest scores pruned."""

    def within_budget(self) -> bool:
        """Whether there is a budget, and the network is within it."""
        return False

    def solve(self, scores: Scores) -> float:
        """The sparsity that results from a budget, a threshold or a pattern with these scores.

        Raises:
            OptionError: this unit supports none of them.
        """
        raise OptionError(f"the {self.word} sparsity is the only target here; use `sparsity`")

    def lost_classes(self) -> list[int]:
        """The classes that no path of kept weights reaches."""
        return unreached_classes(self.model, self.checkpoint.spec.input, self.masks)

    def result(self) -> dict[str, Any]:
        """The reached sparsities, and any classes that no path reaches, for the history."""
        lost = self.lost_classes()
        return {
            "weight_sparsity": 1 - self.masks.kept(self.model) / self.checkpoint.dense.weights,
            **({"unreached_classes": lost} if lost else {}),
        }


def criteria_for_nodes() -> str:
    """The built-in criteria that prune only nodes."""
    methods = {name: criterion_named(name) for name in TABLES["criterion"]}
    return ", ".join(name for name, method in methods.items() if method.unit == "nodes" and method.when != "during")
