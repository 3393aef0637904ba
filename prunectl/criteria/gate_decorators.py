"""Gate decorators with the Tick-Tock schedule: BatchNorm's scales are the gates (You et al. 2019)."""

import torch
from torch import Tensor, nn

from prunectl.companion import Companion
from prunectl.criterion import Batches, Criterion
from prunectl.errors import OptionError
from prunectl.scores import Scores
from prunectl.sensitivity import Draw, gradients
from prunectl.structure.gates import above_where
from prunectl.structure.nodes import Structure
from prunectl.structure.norms import at_scales, batch_norm_scales


class TickTock(Companion):
    """The epoch before a round is a tick: gates and norms alone train, with `strength` · Σ|φ|; the others are tocks.

    The gate φ of a channel is the scale of its BatchNorm, so that the network computes what it did. In a tick
    |dL/dφ · φ| is added up over the steps; dL is that of the loss without the penalty.
    """

    needs_structure = True
    importance: Tensor

    def __init__(self, model: nn.Module, structure: Structure, images: int, *, strength: float = 1e-3) -> None:
        super().__init__()
        self.structure, self.strength, self.ticks = structure, strength, False
        self.frozen: list[nn.Parameter] = []
        if not batch_norm_scales(model):
            raise OptionError("gate decorators put their gates into BatchNorm, and this network has none; take taylor")
        self.register_buffer("importance", torch.zeros(structure.nodes))

    def begin_(self, model: nn.Module, due: bool) -> None:
        """In a tick, all that is no norm stands still."""
        self.end_(model)
        self.ticks = due
        if due:
            norms = (nn.modules.batchnorm._BatchNorm,)
            trained = {id(p) for module in model.modules() if isinstance(module, norms) for p in module.parameters()}
            self.frozen = [p for p in model.parameters() if p.requires_grad and id(p) not in trained]
            for parameter in self.frozen:
                parameter.requires_grad_(False)

    def end_(self, model: nn.Module) -> None:
        """Let everything train again."""
        for parameter in self.frozen:
            parameter.requires_grad_(True)
        self.frozen = []

    def penalty(self, model: nn.Module) -> Tensor | None:
        """The L1 norm of the gates in a tick."""
        if not self.ticks:
            return None
        return self.strength * torch.stack([scale.abs().sum() for scale in batch_norm_scales(model).values()]).sum()

    def watch(self, model: nn.Module) -> None:
        """Add up what the gates do to the loss."""
        if self.ticks:
            values = {}
            for name, scale in batch_norm_scales(model).items():
                assert scale.grad is not None
                values[name] = (scale.grad - self.strength * scale.sign()) * scale
            self.importance += at_scales(self.structure, values)[0].abs().to(self.importance.device)

    def scores(self, model: nn.Module) -> Scores | None:
        """What was added up; nodes without a gate go last."""
        gated = at_scales(self.structure, dict(batch_norm_scales(model)))[1]
        return Scores(nodes=above_where(~gated, self.importance.cpu()))


def gate_importance(
    model: nn.Module, data: Batches, structure: Structure, *, batches: int = 5, loss: str = "cross-entropy"
) -> Scores:
    """Σ |dL/dφ · φ| over batches, φ the BatchNorm scale of a node, summed over coupled channels before |·|.

    Nodes without BatchNorm go last. Source: You et al. 2019 (arXiv:1909.08174), section 3.
    """
    scales = batch_norm_scales(model)
    if not scales:
        raise OptionError("gate decorators put their gates into BatchNorm, and this network has none; take taylor")
    total = torch.zeros(structure.nodes)
    gated = at_scales(structure, dict(scales))[1]
    for _, found in gradients(model, data, scales, Draw(batches, "batch", loss)):
        total += at_scales(structure, {name: g * scales[name].detach() for name, g in found.items()})[0].abs()
    return Scores(nodes=above_where(~gated, total))


gate_decorators = Criterion(
    gate_importance,
    schedule="exponential",
    scope="global",
    source="You et al. 2019, arXiv:1909.08174, section 3",
    unit="nodes",
    when="during",
    steps=10,
    companion=TickTock,
)
