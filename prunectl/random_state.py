"""Torch's random state, of the cpu and of the device in use."""

from typing import Any

import torch
from torch import Tensor


def forked(device: torch.device) -> Any:
    """Leave torch's random state as it was."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def random_state(device: torch.device) -> list[Tensor]:
    """Torch's random state: the cpu's, and the gpu's where the network is there."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_state_(device: torch.device, states: list[Tensor]) -> None:
    """Put torch's random state back to what `random_state` gave."""
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
