"""What holds pruned and frozen entries where they are while a network trains."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.masks import Masks
from prunectl.training.frozen_channels import frozen_entries


class Enforcer:
    """Holds pruned entries at zero, and `held` ones (bool, by parameter) at their value, while an optimiser runs.

    One fused call per step, and one more where anything is held.
    """

    def __init__(self, masks: Masks, model: nn.Module, held: Mapping[str, Tensor] | None = None) -> None:
        held = held or {}
        chosen = [(name, p) for name, p in model.named_parameters() if name in masks or name in held]
        self.parameters = [parameter for _, parameter in chosen]
        # in the parameter's own memory format, or the fused call falls back to a slow one
        self.factors = [torch.ones_like(parameter).detach() for parameter in self.parameters]
        self.held, self.values = [], []
        for (name, parameter), factor in zip(chosen, self.factors, strict=True):
            if name in masks:
                factor.masked_fill_(~masks[name], 0)
            if name in held:
                factor.masked_fill_(held[name], 0)
                self.held.append(parameter)
                self.values.append(parameter.detach().clone().masked_fill_(~held[name], 0))

    def is_on(self, device: torch.device) -> bool:
        """Whether this holds parameters of this device."""
        return all(factor.device == device for factor in self.factors[:1])

    def weights_(self) -> None:
        """Put back what is pruned or held, whatever finite value momentum, decay or noise made of it."""
        if self.parameters:
            torch._foreach_mul_([parameter.detach() for parameter in self.parameters], self.factors)
        if self.held:
            torch._foreach_add_([parameter.detach() for parameter in self.held], self.values)

    def gradients_(self) -> None:
        """Zero the gradients of what is pruned or held, so that they do not count in the norm that is clipped."""
        pairs = [(p.grad, f) for p, f in zip(self.parameters, self.factors, strict=True) if p.grad is not None]
        if pairs:
            torch._foreach_mul_([grad for grad, _ in pairs], [factor for _, factor in pairs])


def enforcer_for(checkpoint: Checkpoint) -> Enforcer:
    """What holds the pruned weights of a network at zero in training, and those that a norm cancels where they are."""
    model, masks = checkpoint.model, checkpoint.masks
    return Enforcer(masks, model, frozen_entries(model, masks, checkpoint.spec.input))
