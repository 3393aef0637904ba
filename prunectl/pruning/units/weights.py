"""Single weights as a unit of pruning."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.criteria.base.criterion import Round
from prunectl.criteria.base.pattern import pattern_of
from prunectl.errors import OptionError
from prunectl.masks import Masks, input_axes, prunable
from prunectl.pruning.connected import select_connected
from prunectl.pruning.rules import SelectionRules
from prunectl.pruning.select import as_in, select_pattern
from prunectl.pruning.units.base import Unit
from prunectl.scores import Scores


class Weights(Unit):
    """Single weights are pruned; with a criterion that regrows, others return."""

    def __init__(self, checkpoint: Checkpoint, model: nn.Module, how: SelectionRules) -> None:
        self.original = {name: w.detach().clone() for name, w in prunable(model).items()} if how.regrow_value else {}
        super().__init__(checkpoint, model, how)

    def apply_(self, masks: Masks, anew: Mapping[str, Tensor] | None = None) -> None:
        """Replace the masks, and set the values of weights that return, or that were dropped and grew back at once."""
        self.returned, redrawn = {}, {} if anew is None else anew
        for name, weight in prunable(self.model).items() if self.how.regrow_value else ():
            returns = ~self.masks.of(name, weight)
            if name in redrawn and name not in self.protected:
                returns |= redrawn[name]
            returns &= masks.of(name, weight)
            with torch.no_grad():
                weight.copy_(torch.where(returns, self._value(name, weight), weight))
            self.returned[name] = returns
        super().apply_(masks, anew)

    def check(self, sparsity: float | None) -> None:
        """Refuse a sparsity together with a pattern, and masked nodes if weights would return."""
        if pattern_of(self.scope) is not None:
            if sparsity is not None or self.budget is not None or self.threshold is not None:
                raise OptionError(f"`scope` {self.scope} decides how many weights are pruned; leave out other targets")
            self.check_keep(None)
            return
        if self._grows and any(name not in self.original for name in self.masks):
            raise OptionError("this criterion regrows weights, but nodes of the network are masked; shrink it first")
        if self.how.regrow_value and sparsity is not None and self.keep(sparsity) == self.kept:
            self.check_keep(sparsity)
            return
        super().check(sparsity)

    def inputs(self, progress: float) -> tuple[Any, ...]:
        """The current `Round`, for a criterion that regrows."""
        return (Round(self.masks, self.original, progress),) if self.how.regrow_value else ()

    def select(self, scores: Scores, sparsity: float) -> Masks:
        """Keep an exact count of weights."""
        pattern = pattern_of(self.scope)
        if pattern is not None:
            return self._by_pattern(scores, pattern)
        scope = as_in(self.masks) if self.how.holds_layers else self.scope
        keep, shape = self.keep(sparsity) - self.protected_weights, self.checkpoint.spec.input
        kept = select_connected(self.model, shape, self.free(scores), self._available, keep, scope)
        return Masks({**self.masks, **kept})

    def solve(self, scores: Scores) -> float:
        """The sparsity of the pattern, or with the scores above the threshold and a weight in every layer kept."""
        pattern = pattern_of(self.scope)
        if pattern is not None:
            return 1 - self._by_pattern(scores, pattern).kept(self.model) / self.total
        assert self.threshold is not None
        left = self.protected_weights
        for name, score in self.free(scores).items():
            kept = self.masks.of(name, score)
            left += max(int(((score > self.threshold) & kept).count_nonzero()), int(kept.any()))
        return 1 - left / self.total

    def _by_pattern(self, scores: Scores, pattern: tuple[int, int]) -> Masks:
        return Masks({**self.masks, **select_pattern(self.free(scores), self.masks, pattern, input_axes(self.model))})

    @property
    def _grows(self) -> bool:
        """Whether weights may return anywhere, not only those that the checkpoint had."""
        return self.how.regrow_value in ("zero", "random")

    @property
    def _available(self) -> Masks:
        """The weights that a round may keep."""
        if self._grows:
            return Masks({name: mask for name, mask in self.masks.items() if name in self.protected})
        return self.checkpoint.masks if self.how.regrow_value else self.masks

    def _value(self, name: str, weight: Tensor) -> Tensor:
        """The values of weights that return; random ones have the scale of the kept ones."""
        if self.how.regrow_value == "original":
            return self.original[name]
        if self.how.regrow_value == "zero":
            return torch.zeros_like(weight)
        spread = weight[self.masks.of(name, weight)].square().mean().sqrt()
        return torch.randn(weight.shape).to(weight) * spread


class UntouchedWeights(Weights):
    """Weights whose values stay, because they may be in a file: the writer puts zeros where masks prune."""

    def _zero_(self) -> None:
        """Do nothing."""
