"""Top-KAST: a sparse forward pass with the largest weights, gradients for a larger set (Jayakumar et al. 2020)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunectl.criteria.base.absolute import absolute
from prunectl.criteria.base.callback import Callback
from prunectl.criteria.base.criterion import Criterion
from prunectl.errors import OptionError
from prunectl.scores import highest


class AlwaysSparse(Callback):
    """In every layer, the forward pass uses the set A of the largest weights; the larger set B gets the gradient.

    A has the size of the target, B the sparsity `backward` (but includes A). Weights outside B keep their value. The
    penalty `strength` / 2 · (Σ_A θ² + Σ_(B without A) θ² / D), where D is the density of A, lets weights enter and
    leave A. Source: Jayakumar et al. 2020 (arXiv:2106.03517), section 2, with the squares of weight decay as
    magnitudes; both sets are selected again in every step.
    """

    def __init__(
        self, model: nn.Module, structure: None, images: int, *, backward: float = 0.5, strength: float = 1e-4
    ) -> None:
        super().__init__()
        if not 0 <= backward < 1 or strength < 0:
            raise OptionError(f"backward must be in [0, 1) and strength 0 or more, got {backward} and {strength}")
        self.backward, self.strength = backward, strength
        self.sizes: dict[str, int] = {}
        self.sets: dict[str, tuple[Tensor, Tensor]] = {}
        self.before: dict[str, Tensor] = {}

    def aim_(self, kept: Mapping[str, Tensor], scope: str) -> None:
        """Set the size of A in every pruned layer."""
        self.sizes = {name: int(mask.count_nonzero()) for name, mask in kept.items() if not mask.all()}

    def parametrized(self, model: nn.Module) -> Mapping[str, Tensor]:
        """The weights of A, with a gradient for those of B."""
        found = {}
        for name in self.sizes:
            weight = model.get_parameter(name)
            active, learning = self.sets[name] = self._sets(name, weight)
            value = weight.detach()
            found[name] = value * active + (weight - value) * learning
        return found

    def penalty(self, model: nn.Module) -> Tensor:
        """The exploration loss."""
        terms = []
        for name, (active, learning) in self.sets.items():
            squares, density = model.get_parameter(name).square(), self.sizes[name] / active.numel()
            terms.append((squares * active).sum() + (squares * (learning & ~active)).sum() / density)
        return self.strength / 2 * torch.stack(terms).sum()

    def after_backward(self, model: nn.Module) -> None:
        """Save the weights, because momentum and decay also move those outside B."""
        self.before = {name: model.get_parameter(name).detach().clone() for name in self.sets}

    def after_step(self, model: nn.Module) -> None:
        """Restore the weights outside B."""
        with torch.no_grad():
            for name, (_, learning) in self.sets.items():
                weight = model.get_parameter(name)
                weight.copy_(torch.where(learning, weight, self.before[name]))

    def fold_(self, model: nn.Module) -> None:
        """Set all weights outside A to zero."""
        with torch.no_grad():
            for name in self.sizes:
                weight = model.get_parameter(name)
                weight.mul_(self._sets(name, weight)[0])

    def _sets(self, name: str, weight: Tensor) -> tuple[Tensor, Tensor]:
        """A and B, bool of the weight's shape."""
        values, size = weight.detach().abs().flatten(), self.sizes[name]
        learning = max(size, round((1 - self.backward) * len(values)))
        return highest(values, size).view_as(weight), highest(values, learning).view_as(weight)


top_kast = Criterion(
    absolute,
    schedule="one-shot",
    scope="layer",
    source="Jayakumar et al. 2020, arXiv:2106.03517, section 2",
    when="during",
    needs_data=False,
    needs_training=True,
    callback=AlwaysSparse,
)
