"""Single weights as a unit of pruning."""

from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.criteria.base.criterion import Round
from prunectl.errors import OptionError
from prunectl.masks import Masks, input_axes, prunable
from prunectl.pruning.connected import select_connected
from prunectl.pruning.rules import SelectionRules
from prunectl.pruning.select import as_in, pattern_of, select_pattern
from prunectl.pruning.units.base import Unit
from prunectl.scores import Scores


class Weights(Unit):
    """Single weights are pruned; a criterion that regrows brings others back."""

    def __init__(self, checkpoint: Checkpoint, model: nn.Module, how: SelectionRules) -> None:
        self.original = {name: w.detach().clone() for name, w in prunable(model).items()} if how.regrow_value else {}
        super().__init__(checkpoint, model, how)

    def apply_(self, masks: Masks) -> None:
        """Replace the masks, and set the values of weights that return."""
        for name, weight in prunable(self.model).items() if self.how.regrow_value else ():
            with torch.no_grad():
                weight.copy_(torch.where(masks[name] & ~self._kept(name), self._value(name, weight), weight))
        super().apply_(masks)

    def check(self, sparsity: float | None) -> None:
        """Refuse a sparsity beside a pattern, and masked nodes where weights would return."""
        if pattern_of(self.scope) is not None:
            if sparsity is not None or self.budget is not None or self.threshold is not None:
                raise OptionError(f"--scope {self.scope} says how many weights go; leave out other targets")
            return
        if self.how.regrow_value in ("zero", "random") and any(name not in self.original for name in self.masks):
            raise OptionError("this criterion regrows weights, and nodes of the network are masked; shrink it first")
        if self.how.regrow_value and sparsity is not None and self.keep(sparsity) == self.kept:
            return
        super().check(sparsity)

    def inputs(self, progress: float) -> tuple[Any, ...]:
        """The current `Round`, for a criterion that regrows."""
        return (Round(self.masks, self.original, progress),) if self.how.regrow_value else ()

    def select(self, scores: Scores, sparsity: float) -> Masks:
        """Keep an exact count of weights."""
        pattern = pattern_of(self.scope)
        if pattern is not None:
            return Masks({**self.masks, **self._by_pattern(scores, pattern)})
        grows = self.how.regrow_value in ("zero", "random")  # everywhere, others where the checkpoint has weights
        alive = Masks.dense() if grows else self.checkpoint.masks if self.how.regrow_value else self.masks
        shape = self.checkpoint.spec.input
        scope = as_in(self.masks) if grows else self.scope
        kept = select_connected(self.model, shape, scores, alive, self.keep(sparsity), scope)
        return Masks({**self.masks, **kept})

    def solve(self, scores: Scores) -> float:
        """The sparsity of the pattern, or of what scores above the threshold, with a weight left in every layer."""
        pattern = pattern_of(self.scope)
        if pattern is not None:
            return 1 - self._by_pattern(scores, pattern).kept(self.model) / self.total
        assert self.threshold is not None
        kept = {name: self._kept(name) for name in scores}
        above = {name: int(((score > self.threshold) & kept[name]).sum()) for name, score in scores.items()}
        return 1 - sum(max(count, int(kept[name].any())) for name, count in above.items()) / self.total

    def _by_pattern(self, scores: Scores, pattern: tuple[int, int]) -> Masks:
        return select_pattern(scores, self.masks, pattern, input_axes(self.model))

    def _kept(self, name: str) -> Tensor:
        """The current mask of a weight."""
        weight = self.model.get_parameter(name)
        return self.masks[name] if name in self.masks else torch.ones_like(weight, dtype=torch.bool)

    def _value(self, name: str, weight: Tensor) -> Tensor:
        """The values of weights that return; random ones have the scale of those that are kept."""
        if self.how.regrow_value == "original":
            return self.original[name]
        if self.how.regrow_value == "zero":
            return torch.zeros_like(weight)
        spread = weight[self._kept(name)].square().mean().sqrt()
        return torch.randn(weight.shape).to(weight) * spread
