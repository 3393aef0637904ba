"""Times networks on batches of two sizes."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from prunectl.measuring.latency import LATENCY_BATCHES, seconds_in_turns
from prunectl.measuring.runtimes import forward_pass

_SECONDS = 0.4
"""Seconds per network, batch size and runtime."""
_ROUNDS = 9

Seconds = dict[tuple[str, int], list[float]]
"""Seconds of every call, by network and batch size."""


def seconds(
    networks: Mapping[str, Callable[[Tensor], object]], shape: tuple[int, int, int], *, parts: int = 1
) -> Seconds:
    """Time all networks in turns, on each batch size; with `parts`, only this fraction of the calls."""
    found: Seconds = {}
    for batch in LATENCY_BATCHES:
        inputs = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(0))
        runs = {name: forward_pass(network, inputs) for name, network in networks.items()}
        taken = seconds_in_turns(runs, at_least_s=_SECONDS * len(runs) / parts, rounds=-(-_ROUNDS // parts))
        found |= {(name, batch): [call for turn in turns for call in turn] for name, turns in taken.items()}
    return found
