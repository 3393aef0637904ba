"""Enforcer: keeps pruned entries at zero, and frozen ones at their value, while a network trains."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.masks import Masks
from prunectl.training.frozen_channels import frozen_entries

LARGE = 1 << 20
"""Entries from which a parameter's factors take one byte each on a cpu: a quarter of the memory, 1.3 times the time."""
_PIECE = 1 << 16
"""Entries of such a parameter multiplied at once, so that their float factors stay in the processor's cache."""


class Enforcer:
    """Resets pruned entries to zero, and `frozen` ones (bool, by parameter) to their value, after every step.

    One fused call per step, one for each large parameter on a cpu, and one more if anything is frozen.
    """

    def __init__(self, masks: Masks, model: nn.Module, frozen: Mapping[str, Tensor] | None = None) -> None:
        frozen = frozen or {}
        chosen = [(name, p) for name, p in model.named_parameters() if name in masks or name in frozen]
        self.parameters = [parameter for _, parameter in chosen]
        # in the parameter's own memory format, else the fused call takes a slow path
        self.factors = [torch.ones_like(p, dtype=_factor_type(p), requires_grad=False) for p in self.parameters]
        self.frozen, self.values = [], []
        for (name, parameter), factor in zip(chosen, self.factors, strict=True):
            if name in masks:
                factor.masked_fill_(~masks[name], 0)
            if name in frozen:
                factor.masked_fill_(frozen[name], 0)
                self.frozen.append(parameter)
                self.values.append(parameter.detach().clone().masked_fill_(~frozen[name], 0))

    def is_on(self, device: torch.device) -> bool:
        """Whether its parameters are on this device."""
        return all(factor.device == device for factor in self.factors[:1])

    def weights_(self) -> None:
        """Reset pruned and frozen entries, whatever finite values momentum, decay or noise left."""
        if self.parameters:
            _multiply_([parameter.detach() for parameter in self.parameters], self.factors)
        if self.frozen:
            torch._foreach_add_([parameter.detach() for parameter in self.frozen], self.values)

    def gradients_(self) -> None:
        """Zero the gradients of pruned and frozen entries, so that they do not count in the clipped norm."""
        pairs = [(p.grad, f) for p, f in zip(self.parameters, self.factors, strict=True) if p.grad is not None]
        if pairs:
            _multiply_([grad for grad, _ in pairs], [factor for _, factor in pairs])


def enforcer_for(checkpoint: Checkpoint) -> Enforcer:
    """The enforcer for a network's masks, and for channels in which pruning left nothing to train."""
    model, masks = checkpoint.model, checkpoint.masks
    return Enforcer(masks, model, frozen_entries(model, masks, checkpoint.spec.input))


def _factor_type(parameter: Tensor) -> torch.dtype:
    """The parameter's own type, for fused calls, or one byte."""
    return torch.int8 if parameter.device.type == "cpu" and parameter.numel() > LARGE else parameter.dtype


def _multiply_(tensors: Sequence[Tensor], factors: Sequence[Tensor]) -> None:
    """Multiply tensors by factors of 0 and 1, in place."""
    pairs = list(zip(tensors, factors, strict=True))
    fused = [(tensor, factor) for tensor, factor in pairs if tensor.dtype == factor.dtype]
    if fused:
        torch._foreach_mul_([tensor for tensor, _ in fused], [factor for _, factor in fused])
    for tensor, factor in pairs:
        if tensor.dtype == factor.dtype:
            continue
        if tensor.stride() != factor.stride():
            tensor.mul_(factor)
            continue
        flat, kept = (each.as_strided((each.numel(),), (1,)) for each in (tensor, factor))
        for piece, of_piece in zip(torch.split(flat, _PIECE), torch.split(kept, _PIECE), strict=True):
            piece.mul_(of_piece.to(piece.dtype))
