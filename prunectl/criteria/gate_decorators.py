"""Gate decorators with the Tick-Tock schedule: BatchNorm's scales are the gates (You et al. 2019)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunectl.criteria.base.callback import Callback
from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.sensitivity import LossSampling, gradients
from prunectl.errors import OptionError
from prunectl.scores import Scores
from prunectl.structure.batch_norms import at_scales, batch_norm_scales
from prunectl.structure.gates import above_where
from prunectl.structure.nodes import Structure


class TickTock(Callback):
    """The epoch before a round is a tick, where no convolution trains; in tocks all train, with `strength` · Σ|φ|.

    The gate φ of a channel multiplies the output of its BatchNorm. Its value is the norm's scale, so the network
    computes the same. A tick adds up |dL/dφ · φ| over its steps; L includes the penalty of `--reg`.
    Source: You et al. 2019 (arXiv:1909.08174), section 3 and figure 2.
    """

    needs_structure = True
    importance: Tensor

    def __init__(self, model: nn.Module, structure: Structure, images: int, *, strength: float = 1e-3) -> None:
        super().__init__()
        if strength < 0:
            raise OptionError(f"strength must be 0 or more, got {strength}")
        self.structure, self.strength, self.ticks = structure, strength, False
        self.frozen: list[nn.Parameter] = []
        still = [name for name, scale in batch_norm_scales(model).items() if not scale.requires_grad]
        if still:
            raise OptionError(f"gate decorators train the scales of BatchNorm, but {still[0]} is frozen; unfreeze it")
        self.gated = _gated(model, structure)
        self.register_buffer("importance", torch.zeros(structure.nodes))

    def on_epoch_start(self, model: nn.Module, due: bool) -> None:
        """Freeze the kernels of convolutions in a tick."""
        self.on_epoch_end(model)
        self.ticks = due
        if due:
            kinds = (nn.modules.conv._ConvNd,)
            kernels = {id(p) for module in model.modules() if isinstance(module, kinds) for p in module.parameters()}
            self.frozen = [p for p in model.parameters() if p.requires_grad and id(p) in kernels]
            for parameter in self.frozen:
                parameter.requires_grad_(False)

    def on_epoch_end(self, model: nn.Module) -> None:
        """Let everything train again."""
        for parameter in self.frozen:
            parameter.requires_grad_(True)
        self.frozen = []

    def penalty(self, model: nn.Module) -> Tensor | None:
        """The L1 norm of the gates in a tock."""
        if self.ticks:
            return None
        return self.strength * torch.stack([scale.abs().sum() for scale in batch_norm_scales(model).values()]).sum()

    def after_backward(self, model: nn.Module) -> None:
        """Add up the effects of the gates on the loss."""
        if self.ticks:
            found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
            self.importance += _effects(model, self.structure, found).to(self.importance.device)

    def scores(self, model: nn.Module) -> Scores | None:
        """The accumulated effects; nodes without a gate are pruned last."""
        return above_where(~self.gated, self.importance.cpu())


def gate_importance(
    model: nn.Module, data: Batches, structure: Structure, *, batches: int = 5, loss: str = "cross-entropy"
) -> Scores:
    """Σ |dL/dφ · φ| over batches, and over the norms of coupled channels. φ multiplies the norm's output.

    Nodes without BatchNorm are pruned last. Source: You et al. 2019 (arXiv:1909.08174), section 3.

    Raises:
        OptionError: no node has a BatchNorm.
    """
    gated, names = _gated(model, structure), {name for pair in _norms(model) for name in pair}
    total = torch.zeros(structure.nodes)
    for _, found in gradients(model, data, names, LossSampling(batches, "batch", loss)):
        total += _effects(model, structure, found)
    return above_where(~gated, total)


def _norms(model: nn.Module) -> list[tuple[str, str]]:
    """The names of scale and shift of every BatchNorm."""
    return [(name, name.removesuffix("weight") + "bias") for name in batch_norm_scales(model)]


def _gated(model: nn.Module, structure: Structure) -> Tensor:
    """Which nodes have a gate, bool (nodes,)."""
    gated = at_scales(structure, dict(batch_norm_scales(model)))[1] > 0
    if not gated.any():
        raise OptionError("gate decorators need BatchNorm for their gates, but no node has one; use taylor")
    return gated


def _effects(model: nn.Module, structure: Structure, found: Mapping[str, Tensor]) -> Tensor:
    """|dL/dφ · φ| = |dL/dγ · γ + dL/dβ · β| of every node, (nodes,), from gradients by the parameters' names."""
    values = {}
    for scale, shift in _norms(model):
        parts = [found[name] * model.get_parameter(name).detach() for name in (scale, shift) if name in found]
        values[scale] = torch.stack(parts).sum(0).abs()
    return at_scales(structure, values)[0]


gate_decorators = Criterion(
    gate_importance,
    schedule="exponential",
    scope="global",
    source="You et al. 2019, arXiv:1909.08174, section 3",
    unit="nodes",
    normalize_budget="max",
    when="during",
    steps=10,
    callback=TickTock,
)
