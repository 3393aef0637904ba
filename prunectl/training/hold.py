"""Holds pruned weights at zero in the user's own training loop."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.errors import OptionError
from prunectl.structure.surgery import optimizer as optimizers
from prunectl.structure.surgery.cut import since
from prunectl.structure.surgery.plan import Plan
from prunectl.training.enforcer import Enforcer, enforcer_for


def hold(checkpoint: Checkpoint, optimizer: Optimizer) -> "Held":
    """Keep the pruned weights of `checkpoint.model` at zero whenever `optimizer` steps, until `Held.remove`.

    Gradients of pruned entries are zeroed before a step, so their momentum stays zero too; the optimiser's current
    state of them is cleared. As in `prunectl.train`, channels in which pruning left nothing to train are frozen if a
    BatchNorm cancels them. The network may move to another device in between, but must not be copied.

    Raises:
        OptionError: the optimiser trains no pruned parameter of this network, for example if it was made from a copy.
    """
    return Held(checkpoint, optimizer)


def carry_(optimizer: Optimizer, before: Checkpoint, after: Checkpoint) -> None:
    """Let an optimiser of `before.model` continue with `after.model`, its shrunk version, with its momentum.

    Raises:
        OptionError: the optimiser's state does not have the axes of its parameter.
    """
    kept = since(Plan.of(before.edits).kept, Plan.of(after.edits).kept)
    optimizers.carry_(optimizer, before.model, after.model, kept)


class Held:
    """The hooks that `hold` put on an optimiser."""

    def __init__(self, checkpoint: Checkpoint, optimizer: Optimizer) -> None:
        self.checkpoint, self.optimizer = checkpoint, optimizer
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        masked = [(p, checkpoint.masks[n]) for n, p in checkpoint.model.named_parameters() if n in checkpoint.masks]
        if masked and not any(id(p) in trained for p, _ in masked):
            raise OptionError(
                "the optimiser trains none of the pruned parameters of this checkpoint; create it from "
                "checkpoint.model.parameters()"
            )
        for parameter, mask in masked:
            _forget_(optimizer, parameter, mask)
        self._enforcer: Enforcer | None = None
        self._hooks = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def remove(self) -> None:
        """Let the optimiser change every weight again."""
        for hook in self._hooks:
            hook.remove()

    def _before(self, *_: Any) -> None:
        self._here().gradients_()

    def _after(self, *_: Any) -> None:
        self._here().weights_()

    def _here(self) -> Enforcer:
        """The enforcer, on the network's current device."""
        if self._enforcer is None or not self._enforcer.is_on(self.checkpoint.device):
            self._enforcer = enforcer_for(self.checkpoint.to(self.checkpoint.device))
        return self._enforcer


def _forget_(optimizer: Optimizer, parameter: Tensor, mask: Tensor) -> None:
    """Zero the optimiser's state of pruned entries."""
    for value in optimizer.state.get(parameter, {}).values():
        if isinstance(value, Tensor) and value.shape == mask.shape:
            with torch.no_grad():
                value.masked_fill_(~mask.to(value.device), 0)
