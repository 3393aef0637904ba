"""SR-STE: trains with a pattern N:M of the weights, while all weights learn (Zhou et al. 2021)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunectl.criteria.base.absolute import absolute
from prunectl.criteria.base.callback import Callback
from prunectl.criteria.base.criterion import Criterion
from prunectl.criteria.base.pattern import Pattern, best_of_every, pattern_of
from prunectl.errors import OptionError
from prunectl.masks import input_axes


class SparseRefined(Callback):
    """The network computes with the N largest of every M weights, S(W); the gradient of S(W) reaches all of W.

    Weights outside S(W) decay by `strength`: W <- W - γ (g(S(W)) + λ (1 - mask) W), here as a penalty with that
    gradient. Source: Zhou et al. 2021 (arXiv:2102.04010), λ = 2e-4.
    """

    pattern: Pattern

    def __init__(self, model: nn.Module, structure: None, images: int, *, strength: float = 2e-4) -> None:
        super().__init__()
        if strength < 0:
            raise OptionError(f"strength must be 0 or more, got {strength}")
        self.strength, self.axes, self.layers = strength, input_axes(model), list[str]()

    def aim_(self, kept: Mapping[str, Tensor], scope: str) -> None:
        """Take the pattern, and the layers that it prunes.

        Raises:
            OptionError: the scope is not a pattern.
        """
        pattern = pattern_of(scope)
        if pattern is None:
            raise OptionError(f"sr-ste trains a pattern; use `scope` 2:4 instead of {scope}, and no sparsity")
        self.pattern = pattern
        self.layers = [name for name, mask in kept.items() if not mask.all()]

    def parametrized(self, model: nn.Module) -> Mapping[str, Tensor]:
        """S(W), with the gradient of W."""
        found = {}
        for name in self.layers:
            weight = model.get_parameter(name)
            found[name] = weight + (weight * self._mask(name, weight) - weight).detach()
        return found

    def penalty(self, model: nn.Module) -> Tensor:
        """λ / 2 · |(1 - mask) W|²."""
        outs = [model.get_parameter(name) for name in self.layers]
        squares = [(w.square() * ~self._mask(n, w)).sum() for n, w in zip(self.layers, outs, strict=True)]
        return self.strength / 2 * torch.stack(squares).sum()

    def fold_(self, model: nn.Module) -> None:
        """Replace W by S(W)."""
        with torch.no_grad():
            for name in self.layers:
                weight = model.get_parameter(name)
                weight.mul_(self._mask(name, weight))

    def _mask(self, name: str, weight: Tensor) -> Tensor:
        mask = best_of_every(weight.detach().abs(), self.pattern, self.axes[name])
        assert mask is not None  # layers pruned by the pattern have a multiple of M inputs
        return mask


sr_ste = Criterion(
    absolute,
    schedule="one-shot",
    scope="2:4",
    source="Zhou et al. 2021, arXiv:2102.04010",
    when="during",
    needs_data=False,
    needs_training=True,
    callback=SparseRefined,
)
