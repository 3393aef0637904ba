"""SynFlow: keep the flow through the absolute weights, without data (Tanaka et al. 2020)."""

import torch
from torch import Tensor, nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.masks import prunable
from prunectl.scores import Scores
from prunectl.torchtools.contexts import evaluating
from prunectl.torchtools.copies import with_tensors


def synaptic_flow(model: nn.Module, data: Batches) -> Scores:
    """dR/dθ · θ of every prunable weight; R is the sum of the outputs for an image of ones through |θ|, in float64.

    Scores are divided by the largest one, because R of a deep network exceeds the range of float32; buffers are
    absolute too.
    Source: Tanaka, Kunin, Yamins & Ganguli 2020 (arXiv:2006.05467), algorithm 1. Their 100 exponential rounds
    keep layers from collapsing.
    """
    images = next(data)[0]
    try:
        values = _flow(model, images, torch.float64)
    except RuntimeError:  # the network's own code casts to float32
        values = _flow(model, images, torch.float32)
    largest = max((float(value.abs().max()) for value in values.values()), default=1.0) or 1.0
    return Scores({name: (value / largest).float() for name, value in values.items()})


def _flow(model: nn.Module, images: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """dR/dθ · θ by name, computed in a type."""
    network = with_tensors(model, lambda t: _absolute(t, isinstance(t, nn.Parameter), dtype))
    weights = prunable(network)
    with evaluating(network), torch.autocast(images.device.type, enabled=False):
        flow = network(torch.ones_like(images[:1], dtype=dtype)).sum()
        found = torch.autograd.grad(flow, list(weights.values()), allow_unused=True, materialize_grads=True)
    return {name: g * w.detach() for (name, w), g in zip(weights.items(), found, strict=True)}


def _absolute(tensor: Tensor, parameter: bool, dtype: torch.dtype) -> Tensor:
    """|t| in a type, with its own gradient if it is a parameter; integers are unchanged."""
    made = tensor.detach().abs().to(dtype) if tensor.is_floating_point() else tensor.clone()
    return made.requires_grad_() if parameter and made.is_floating_point() else made


synflow = Criterion(
    synaptic_flow,
    schedule="exponential",
    scope="global",
    source="Tanaka et al. 2020, arXiv:2006.05467, algorithm 1",
    needs_data=False,
    steps=100,
)
