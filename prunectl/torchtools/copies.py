"""Copies module trees over other tensors, to trace, count or score a network without changing it or copying data.

(`torch.func.functional_call` does the same, but importing its dependencies takes a second.)
"""

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from prunectl.errors import OptionError

M = TypeVar("M", bound=nn.Module)


def unregistered_tensors(model: nn.Module) -> dict[tuple[str, str], Tensor]:
    """Tensors that are plain attributes of modules, by module and name; they are not saved."""
    return {
        (name, key): value
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, Tensor)
    }


def with_tensors(model: M, replace: Callable[[Tensor], Tensor]) -> M:
    """A copy of the modules with every parameter and buffer t replaced by `replace(t)`.

    Raises:
        OptionError: a module holds a tensor computed from others, which cannot be copied.
    """
    for (name, key), value in unregistered_tensors(model).items():
        if not value.is_leaf:
            raise OptionError(
                f"layer {name or type(model).__name__} holds a {key} computed from other parameters (the old "
                "torch.nn.utils.weight_norm does this); use torch.nn.utils.parametrizations.weight_norm instead"
            )
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): replace(tensor) for tensor in tensors})


def differentiable(model: M) -> M:
    """A copy with the same values, whose parameters have their own gradients and whose buffers a pass may change."""
    return with_tensors(model, _own)


def _own(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_() if isinstance(tensor, nn.Parameter) else tensor.clone()


def in_type(model: M, dtype: torch.dtype) -> M:
    """A copy with floating-point tensors converted as by `.to(dtype)`; no tensor is shared."""
    return with_tensors(model, lambda tensor: like(tensor, _cast(tensor.detach(), dtype)))


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() and tensor.dtype != dtype else tensor.clone()


def like(tensor: Tensor, value: Tensor) -> Tensor:
    """The value as a parameter if the tensor is one, with the same requires_grad."""
    return nn.Parameter(value, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else value


def on_meta(model: M) -> M:
    """A copy on the meta device, where tensors have shapes but no values."""
    return with_tensors(model, lambda tensor: tensor.detach().to("meta"))


def without_values(model: M) -> M:
    """A copy whose tensors are zeros that take no memory, for code that reads only types and shapes."""
    return with_tensors(model, lambda t: like(t, torch.zeros((), dtype=t.dtype, device=t.device).expand(t.shape)))


def in_type_of(model: nn.Module, images: Tensor) -> Tensor:
    """The images in the type of the network's first floating-point parameter, which may be bfloat16 or float64."""
    like = next((p for p in model.parameters() if p.is_floating_point()), images)
    return images.to(like.dtype)


def like_parameters(model: nn.Module, *shape: int) -> Tensor:
    """Zeros of the type and on the device of the network's first floating-point parameter."""
    like = next((p for p in model.parameters() if p.is_floating_point()), None)
    return torch.zeros(*shape) if like is None else like.new_zeros(shape)
