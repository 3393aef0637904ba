"""Enforcer: keeps pruned entries at zero, and frozen ones at their value, while a network trains."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.masks import Masks
from prunectl.training.frozen_channels import frozen_entries


class Enforcer:
    """Resets pruned entries to zero, and `frozen` ones (bool, by parameter) to their value, after every step.

    One fused call per step, and one more if anything is frozen.
    """

    def __init__(self, masks: Masks, model: nn.Module, frozen: Mapping[str, Tensor] | None = None) -> None:
        frozen = frozen or {}
        chosen = [(name, p) for name, p in model.named_parameters() if name in masks or name in frozen]
        self.parameters = [parameter for _, parameter in chosen]
        # in the parameter's own memory format, or the fused call takes a slow path
        self.factors = [torch.ones_like(parameter).detach() for parameter in self.parameters]
        self.frozen, self.values = [], []
        for (name, parameter), factor in zip(chosen, self.factors, strict=True):
            if name in masks:
                factor.masked_fill_(~masks[name], 0)
            if name in frozen:
                factor.masked_fill_(frozen[name], 0)
                self.frozen.append(parameter)
                self.values.append(parameter.detach().clone().masked_fill_(~frozen[name], 0))

    def is_on(self, device: torch.device) -> bool:
        """Whether this holds parameters of this device."""
        return all(factor.device == device for factor in self.factors[:1])

    def weights_(self) -> None:
        """Reset pruned and frozen entries, whatever finite value momentum, decay or noise gave them."""
        if self.parameters:
            torch._foreach_mul_([parameter.detach() for parameter in self.parameters], self.factors)
        if self.frozen:
            torch._foreach_add_([parameter.detach() for parameter in self.frozen], self.values)

    def gradients_(self) -> None:
        """Zero the gradients of pruned and frozen entries, so that they do not count in the clipped norm."""
        pairs = [(p.grad, f) for p, f in zip(self.parameters, self.factors, strict=True) if p.grad is not None]
        if pairs:
            torch._foreach_mul_([grad for grad, _ in pairs], [factor for _, factor in pairs])


def enforcer_for(checkpoint: Checkpoint) -> Enforcer:
    """The enforcer of a network's masks, and of the channels that pruning has left without anything to train."""
    model, masks = checkpoint.model, checkpoint.masks
    return Enforcer(masks, model, frozen_entries(model, masks, checkpoint.spec.input))
