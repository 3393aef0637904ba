"""Several processes that score together, as `torchrun` starts them: each takes its share of every batch."""

from collections.abc import Sequence

import torch.distributed as dist
from torch import Tensor


def joined() -> bool:
    """Whether this process is one of several that have joined."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def share(tensor: Tensor) -> Tensor:
    """The entries (dim 0) that this process takes: every world-size-th one from its rank on."""
    return tensor[dist.get_rank() :: dist.get_world_size()] if joined() else tensor


def sum_(tensors: Sequence[Tensor]) -> None:
    """Add up tensors over all processes, in place."""
    for tensor in tensors if joined() else ():
        dist.all_reduce(tensor)
