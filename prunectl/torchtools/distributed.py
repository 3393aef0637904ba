"""Several processes that score together, as `torchrun` starts them: each takes its share of every batch."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


def started_together() -> bool:
    """Whether `torchrun` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def together(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes for a while, if there are any; gives the device of this one."""
    if not started_together():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def joined() -> bool:
    """Whether this process is one of several that have joined."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def processes() -> int:
    """How many processes have joined."""
    return dist.get_world_size() if joined() else 1


def leads() -> bool:
    """Whether this process is the one that writes and prints."""
    return not joined() or dist.get_rank() == 0


def share(tensor: Tensor) -> Tensor:
    """The entries (dim 0) that this process takes: every world-size-th one from its rank on."""
    return tensor[dist.get_rank() :: dist.get_world_size()] if joined() else tensor


def sum_(tensors: Sequence[Tensor]) -> None:
    """Add up tensors over all processes, in place."""
    for tensor in tensors if joined() else ():
        dist.all_reduce(tensor)
