"""The proof: a smaller network is compared with the masked one that it came from."""

import torch
from torch import nn

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
    types = [next(network.parameters()) for network in (one, other)]
    generator = torch.Generator().manual_seed(seed)
    worst = torch.zeros((), dtype=torch.float64)
    with evaluating(one), evaluating(other), torch.no_grad():
        for size in batches:
            images = torch.randn(size, *shape, generator=generator)
            expected, found = (
                network(images.to(like)).double().cpu() for network, like in zip((one, other), types, strict=True)
            )
            scale = expected.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
            worst = torch.maximum(worst, (expected - found).abs().max() / scale)
    return float(worst)
