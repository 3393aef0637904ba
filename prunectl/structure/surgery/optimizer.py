"""Lets an optimiser continue with a smaller network."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from prunectl.errors import OptionError
from prunectl.structure.surgery.cut import Kept


def carry_(optimizer: Optimizer, old: nn.Module, new: nn.Module, kept: Kept) -> None:
    """Let an optimiser of `old` continue with `new`, the same network with only the `kept` indices of `old`.

    State with the axes of its parameter (momentum, mean squares) is cut like the parameter. Step counts, learning
    rates, hooks, and the schedulers that hold the optimiser stay.

    Raises:
        OptionError: the state of a cut parameter has other axes.
    """
    names = {parameter: name for name, parameter in old.named_parameters()}
    parameters = dict(new.named_parameters())
    for group in optimizer.param_groups:
        for i, before in enumerate(group["params"]):
            if before not in names:  # a callback's parameter, not the network's
                continue
            name = names[before]
            after = group["params"][i] = parameters[name]
            places = {axis: left for (n, axis), left in kept.items() if n == name}
            slots = optimizer.state.pop(before, None)
            if slots is not None:
                optimizer.state[after] = {slot: _cut(v, before, after, places, slot) for slot, v in slots.items()}


def restart_(optimizer: Optimizer, model: nn.Module, grown: Mapping[str, Tensor]) -> None:
    """Reset an optimiser's state of entries that have just grown: bool masks by parameter name."""
    for name, mask in grown.items():
        for value in optimizer.state.get(model.get_parameter(name), {}).values():
            if isinstance(value, Tensor) and value.shape == mask.shape:
                value.masked_fill_(mask, 0)


def _cut(value: object, before: Tensor, after: Tensor, places: dict[int, Tensor], slot: str) -> object:
    """A state cut like its parameter; a factored one (Adafactor) has a single entry on some axes."""
    if not isinstance(value, Tensor) or value.numel() == 1:
        return value
    if not places:
        return laid_out(value, after)
    sizes = zip(value.shape, before.shape, strict=False)
    if value.ndim != before.ndim or any(size not in (1, whole) for size, whole in sizes):
        raise OptionError(
            f"the optimiser's {slot} has shape {tuple(value.shape)} for a parameter of {tuple(before.shape)}, so it "
            "cannot follow to a smaller network; use sgd, adam, adamw or rmsprop"
        )
    for axis, left in places.items():
        if value.shape[axis] == before.shape[axis]:
            value = value.index_select(axis, left.to(value.device))
    return laid_out(value, after)


def laid_out(value: Any, parameter: Tensor) -> Any:
    """A state tensor of its parameter's shape, in the parameter's memory format, as fused steps need it."""
    if not isinstance(value, Tensor) or value.shape != parameter.shape or value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype).detach().copy_(value)
