"""A second module tree over other tensors: to trace, count or score a network without touching it or copying data.

(`torch.func.functional_call` serves the same end, but importing what it needs takes a second.)
"""

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def shadow(model: M, replace: Callable[[Tensor], Tensor]) -> M:
    """A copy of the modules, in which every parameter and buffer t is `replace(t)`."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): replace(tensor) for tensor in tensors})


def on_meta(model: M) -> M:
    """A shadow on the meta device, where tensors have shapes but no values, and nothing is computed."""
    return shadow(model, lambda tensor: tensor.detach().to("meta"))


def like_parameters(model: nn.Module, *shape: int) -> Tensor:
    """An empty tensor on the meta device, in the type of the network's first floating-point parameter."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return torch.empty(*shape, dtype=dtype, device="meta")
