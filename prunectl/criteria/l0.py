"""L0: a hard-concrete gate on every node, trained with the expected number of weights (Louizos et al. 2018)."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunectl.criteria.base.callback import Callback
from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.errors import OptionError
from prunectl.masks import prunable
from prunectl.scores import Scores
from prunectl.structure.gates import gate_axes
from prunectl.structure.nodes import Structure

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
SPREAD, LIMIT, EPSILON = 0.01, math.log(100.0), 1e-6


class HardConcrete(Callback):
    """A gate z in [0, 1] on every node, where weights read it; adds `strength` / N · the expected L0 norm to the loss.

    `log_alpha` (nodes,) are the locations, starting near log(1 - `droprate`) - log(`droprate`); N is the number of
    images, so that the penalty is that of the whole data. The norm counts `weights` or `flops`, by `count`. Source:
    Louizos, Welling & Kingma 2018 (arXiv:1712.01312), eq. 10 to 13 and section 3.
    """

    needs_structure = True
    present: Tensor

    def __init__(
        self,
        model: nn.Module,
        structure: Structure,
        images: int,
        *,
        strength: float = 0.1,
        droprate: float = 0.5,
        count: str = "weights",
    ) -> None:
        super().__init__()
        if not 0 < droprate < 1 or count not in ("weights", "flops"):
            raise OptionError(f"droprate must be in (0, 1), count weights or flops; got {droprate} and {count}")
        if strength < 0:
            raise OptionError(f"strength must be 0 or more, got {strength}")
        device = next(model.parameters()).device
        self.structure, self.strength, self.count, self.images = structure.to(device), strength, count, images
        self.axes = {key: classes.to(device) for key, classes in gate_axes(structure, model).items()}
        start = math.log(1 - droprate) - math.log(droprate)
        self.log_alpha = nn.Parameter((start + SPREAD * torch.randn(structure.nodes)).to(device))
        self.register_buffer("present", torch.ones(structure.nodes, device=device), persistent=False)
        self.total = float(self._expected(model, self.present))

    def without_(self, gone: Tensor) -> None:
        """Exclude masked nodes from the count."""
        self.present.masked_fill_(gone.to(self.present.device), 0)

    def parametrized(self, model: nn.Module) -> Mapping[str, Tensor]:
        """The weights that read nodes, times the gates drawn for this step."""
        with torch.no_grad():
            self.log_alpha.clamp_(-LIMIT, LIMIT)  # within these limits, gates can still open and close
        noise = torch.rand(self.log_alpha.shape).to(self.log_alpha).clamp(EPSILON, 1 - EPSILON)
        drawn = torch.sigmoid((noise.log() - (1 - noise).log() + self.log_alpha) / BETA)
        return self._gated(model, _stretched(drawn).clamp(0, 1))

    def fold_(self, model: nn.Module) -> None:
        """Multiply the weights by the test-time gates."""
        with torch.no_grad():
            for name, value in self._gated(model, _stretched(torch.sigmoid(self.log_alpha)).clamp(0, 1)).items():
                model.get_parameter(name).copy_(value)

    def penalty(self, model: nn.Module) -> Tensor:
        """The expected count, weighted."""
        return self.strength / self.images * self._expected(model, self._open())

    def scores(self, model: nn.Module) -> Scores:
        """The test-time gates before clipping to [0, 1]; closed gates are at most 0."""
        return Scores(nodes=_stretched(torch.sigmoid(self.log_alpha.detach())).cpu())

    def metrics(self, model: nn.Module) -> Mapping[str, float]:
        """The expected share of the counted quantity."""
        with torch.no_grad():
            return {f"expected_{self.count}": float(self._expected(model, self._open())) / max(self.total, 1.0)}

    def _open(self) -> Tensor:
        """The probability that a node is present and its gate is not 0, (nodes,)."""
        return self.present * torch.sigmoid(self.log_alpha - BETA * math.log(-GAMMA / ZETA))

    def _gated(self, model: nn.Module, gates: Tensor) -> dict[str, Tensor]:
        """Parameters times the gates of the nodes on their axes."""
        padded = torch.cat([gates, gates.new_ones(1)])  # the last entry stands for FROZEN
        found: dict[str, Tensor] = {}
        for (name, axis), classes in self.axes.items():
            parameter = found.get(name, model.get_parameter(name))
            along = [1] * parameter.ndim
            along[axis] = -1
            found[name] = parameter * padded[classes].view(along)
        return found

    def _expected(self, model: nn.Module, present: Tensor) -> Tensor:
        """The expected number of weights or FLOPs per image, if nodes are present with these probabilities."""
        padded = torch.cat([present, present.new_ones(1)])
        if self.count == "flops":
            terms = [
                2 * product.factor * torch.stack([padded[c].sum() for c in product.axes]).prod()
                for product in self.structure.products
            ]
            return torch.stack(terms).sum()
        terms = []
        for name, weight in prunable(model).items():
            term = present.new_ones(())
            for axis, length in enumerate(weight.shape):
                classes = self.structure.axes.get((name, axis))
                term = term * (length if classes is None else padded[classes].sum())
            terms.append(term)
        return torch.stack(terms).sum()


def _stretched(gates: Tensor) -> Tensor:
    """Stretch from (0, 1) to (γ, ζ)."""
    return gates * (ZETA - GAMMA) + GAMMA


def learnt(model: nn.Module, data: Batches, structure: Structure) -> Scores:
    """The gates learnt in training (`HardConcrete`); all are open in a network trained without gates."""
    return Scores(nodes=torch.ones(structure.nodes))


l0 = Criterion(
    learnt,
    schedule="one-shot",
    scope="global",
    source="Louizos et al. 2018, arXiv:1712.01312, eq. 10-13",
    unit="nodes",
    when="during",
    needs_data=False,
    needs_training=True,
    callback=HardConcrete,
)
