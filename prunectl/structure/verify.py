"""The proof: a smaller network is compared with the masked one that it came from."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from prunectl.modes import evaluating

BATCHES = (1, 2, 8)
FEW_BATCHES = (1, 3)
"""For large networks, where the proof would take minutes."""
LARGE = 10**10
"""FLOPs per image."""


def difference(
    one: nn.Module, other: nn.Module, shape: tuple[int, int, int], seed: int = 0, batches: tuple[int, ...] = BATCHES
) -> float:
    """The largest difference of two networks' outputs, relative to the largest output, over several random batches.

    Both are compared in eval mode, each in the type of its parameters.
    """
    types = [like_images(network) for network in (one, other)]
    generator = torch.Generator().manual_seed(seed)
    worst = torch.zeros((), dtype=torch.float64)
    with evaluating(one), evaluating(other), torch.no_grad():
        for size in batches:
            images = torch.randn(size, *shape, generator=generator)
            expected, found = (
                _flat(network(images.to(like))) for network, like in zip((one, other), types, strict=True)
            )
            scale = expected.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
            worst = torch.maximum(worst, (expected - found).abs().max() / scale)
    return float(worst)


def _flat(outputs: Any) -> Tensor:
    """All numbers that a network gives, in float64 in one row."""
    tensors = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    return torch.cat([tensor.double().cpu().flatten() for tensor in tensors])


def like_images(network: nn.Module) -> Tensor:
    """A tensor of the type and place that the network wants of its images."""
    return next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
