"""SynFlow: keep the flow through the absolute weights, without data (Tanaka et al. 2020)."""

import torch
from torch import nn

from prunectl.criterion import Batches, Criterion
from prunectl.masks import prunable
from prunectl.modes import evaluating
from prunectl.scores import Scores
from prunectl.shadow import shadow


def synaptic_flow(model: nn.Module, data: Batches) -> Scores:
    """dR/dθ · θ of every prunable weight, R = the sum of the outputs for an image of ones through |θ|, in float64.

    Scores are divided by their largest, for R of a deep network leaves the range of float32; buffers are absolute too.
    Source: Tanaka, Kunin, Yamins & Ganguli 2020 (arXiv:2006.05467), algorithm 1. Their 100 exponential rounds
    keep layers from collapsing.
    """
    network = shadow(model, lambda t: _absolute(t, isinstance(t, nn.Parameter)))
    weights = prunable(network)
    images = next(data)[0]
    with evaluating(network), torch.autocast(images.device.type, enabled=False):
        flow = network(torch.ones_like(images[:1], dtype=torch.float64)).sum()
        found = torch.autograd.grad(flow, list(weights.values()), allow_unused=True, materialize_grads=True)
    values = [gradient * weight.detach() for gradient, weight in zip(found, weights.values(), strict=True)]
    largest = max((float(value.max()) for value in values), default=1.0) or 1.0
    return Scores({name: (value / largest).float() for name, value in zip(weights, values, strict=True)})


def _absolute(tensor: torch.Tensor, parameter: bool) -> torch.Tensor:
    """|t| in float64, with a gradient of its own where it is a parameter; integers as they are."""
    made = tensor.detach().abs().double() if tensor.is_floating_point() else tensor.clone()
    return made.requires_grad_() if parameter and made.is_floating_point() else made


synflow = Criterion(
    synaptic_flow,
    schedule="exponential",
    scope="global",
    source="Tanaka et al. 2020, arXiv:2006.05467, algorithm 1",
    needs_data=False,
    steps=100,
)
