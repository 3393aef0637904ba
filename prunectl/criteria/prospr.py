"""ProsPr: the sensitivity of the loss after the first steps of a training (Alizadeh et al. 2022)."""

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.kept import kept_entries
from prunectl.criteria.base.sensitivity import LossSampling
from prunectl.errors import OptionError
from prunectl.masks import prunable
from prunectl.scores import Scores
from prunectl.torchtools.contexts import evaluating, full_precision
from prunectl.torchtools.copies import differentiable


def meta_gradient(
    model: nn.Module,
    data: Batches,
    *,
    updates: int = 3,
    rate: float = 0.1,
    bn: str = "batch",
    loss: str = "cross-entropy",
) -> Scores:
    """|dL(θ_M)/dθ_0 · θ_0|, where L is the loss of a batch after M SGD `updates`, each on its own batch.

    Updates change every parameter, but pruned weights stay 0; `rate` is the learning rate; `bn` and `loss` are those of
    `LossSampling`. Memory grows with M. Source: Alizadeh et al. 2022 (arXiv:2202.08132), section 3.1,
    algorithm 1: the derivative by masks c = 1 of the initial weights, c · θ_0.

    Raises:
        OptionError: fewer than 1 update, or a rate that is not above 0.
    """
    if updates < 1 or not rate > 0:
        raise OptionError(f"updates must be 1 or more and rate above 0, got {updates} and {rate}")
    draw = LossSampling(updates + 1, bn, loss)
    network = differentiable(model)
    start: dict[str, Tensor] = dict(network.named_parameters())
    weights = {name: start[name] for name in prunable(network)}
    with evaluating(network, batch_norm_trains=bn == "batch"), full_precision(), sdpa_kernel(SDPBackend.MATH):
        after = start
        for _ in range(updates):
            after = _updated(after, _loss(network, after, data, draw), rate, start)
        found = _derivatives(_loss(network, after, data, draw), weights)
    return Scores({name: (g * weights[name].detach()).abs().float() for name, g in found.items()})


def _updated(now: dict[str, Tensor], loss: Tensor, rate: float, start: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters after a step of SGD, with its graph."""
    steps = _derivatives(loss, now, create_graph=True)
    return {name: value - rate * steps[name] * kept_entries(start[name]) for name, value in now.items()}


def _loss(network: nn.Module, parameters: dict[str, Tensor], data: Batches, draw: LossSampling) -> Tensor:
    """The loss of the next batch with other parameters."""
    inputs, labels = next(data)
    return draw.of_logits(torch.func.functional_call(network, parameters, (inputs,)), labels)


def _derivatives(loss: Tensor, by: dict[str, Tensor], create_graph: bool = False) -> dict[str, Tensor]:
    found = torch.autograd.grad(
        loss, list(by.values()), create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return dict(zip(by, found, strict=True))


prospr = Criterion(
    meta_gradient,
    schedule="one-shot",
    scope="global",
    source="Alizadeh et al. 2022, arXiv:2202.08132, algorithm 1",
)
