"""How the loss answers to a relative change of parameters: what the elasticities of weights and nodes are made of."""

from collections.abc import Collection
from itertools import islice

import torch
from torch import Tensor, nn

from prunectl.criterion import Batches
from prunectl.modes import evaluating
from prunectl.registry import unknown
from prunectl.shadow import shadow

LOSSES = {"cross-entropy": nn.functional.cross_entropy, "nll-logits": nn.functional.nll_loss}


def sensitivity(
    model: nn.Module, data: Batches, names: Collection[str], *, batches: int, bn: str, loss: str
) -> dict[str, Tensor]:
    """dL/dθ · θ / L, with its sign, of the named parameters θ; the gradient and the loss L are of `batches` batches.

    `bn` says which statistics BatchNorm uses: `running`, or those of the `batch`; `loss` is `cross-entropy` or
    `nll-logits`, the mean of minus the target's logit that the authors' code takes. Dropout is off. The model is left
    as it was: parameters, buffers, gradients and mode.
    """
    if bn not in ("running", "batch"):
        raise unknown("BatchNorm mode", bn, ("running", "batch"))
    network = shadow(model, _own)
    parameters = {name: p for name, p in network.named_parameters() if name in names}
    sums = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in parameters.values()]
    total = torch.zeros((), device=next(network.parameters()).device)
    with evaluating(network, batch_norm_trains=bn == "batch"):
        for inputs, labels in islice(data, batches if sums else 0):
            value = _loss(loss, network(inputs), labels)
            torch._foreach_add_(sums, _gradients(value, list(parameters.values())))
            total += value.detach()
    total = total.where(total != 0, 1)  # a loss of exactly 0 ranks as any other: it is one factor for all
    return {name: s * p.detach() / total for s, (name, p) in zip(sums, parameters.items(), strict=True)}


def _gradients(value: Tensor, parameters: list[Tensor]) -> tuple[Tensor, ...]:
    """The gradient of each parameter, zero where it is not used."""
    return torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)


def _own(tensor: Tensor) -> Tensor:
    """The same values: a parameter with a gradient of its own, or a copy of a buffer, which BatchNorm may change."""
    return tensor.detach().requires_grad_() if isinstance(tensor, nn.Parameter) else tensor.clone()


def _loss(name: str, logits: Tensor, labels: Tensor) -> Tensor:
    if name not in LOSSES:
        raise unknown("scoring loss", name, LOSSES)
    return LOSSES[name](logits, labels)
