"""Random numbers: the states of torch, Python and numpy, and seeds that differ by purpose."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


def forked(device: torch.device) -> Any:
    """Restore torch's random state after the block."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def random_state(device: torch.device) -> list[Tensor]:
    """Torch's random state: the cpu's, and the gpu's if `device` is one."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_state_(device: torch.device, states: list[Tensor]) -> None:
    """Restore the random state that `random_state` returned."""
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def seed_for(purpose: str, seed: int) -> int:
    """A 63-bit seed from the user's seed and the purpose of the draws."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:8], "little") >> 1


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Restore the random states of torch on the cpu, Python and numpy after the block."""
    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)


def seed_all_(seed: int) -> None:
    """Seed torch on the cpu, Python and numpy."""
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
