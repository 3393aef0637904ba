"""Slots: an optimiser's state per parameter, such as momentum and step count, by the parameter's name."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from prunectl.errors import OptionError
from prunectl.training.state import separated, under, within

Slots = dict[str, Any]


def slots_of(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Slots]:
    """An optimiser's slots by parameter name, empty before its first step; not copied."""
    return {name: dict(optimizer.state.get(parameter, {})) for name, parameter in parameters.items()}


def copied(slots: Slots) -> Slots:
    """A copy of the slots."""
    return {slot: v.detach().clone() if isinstance(v, Tensor) else copy.deepcopy(v) for slot, v in slots.items()}


def to_state(kind: str, named: Mapping[str, Slots]) -> dict[str, Any]:
    """Tensors as `kind/parameter/slot`, all others in the value `slots`.

    Raises:
        OptionError: a slot holds neither a tensor nor a number or text.
    """
    state: dict[str, Any] = {}
    numbers: dict[str, Slots] = {}
    for name, slots in named.items():
        tensors, numbers[name] = separated(slots)
        state |= under(f"{kind}/{name}", tensors)
        _check_plain(numbers[name])
    return {**state, "slots": numbers}


def from_state(kind: str, state: Mapping[str, Any]) -> dict[str, Slots]:
    """Undo `to_state`."""
    named: dict[str, Slots] = {name: dict(numbers) for name, numbers in state.get("slots", {}).items()}
    for key, tensor in within(kind, state).items():
        name, _, slot = key.rpartition("/")
        named.setdefault(name, {})[slot] = tensor
    return named


def plain_group(group: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter group, with the tuples that JSON turned into lists."""
    return {key: tuple(value) if key == "betas" else value for key, value in group.items()}


def _check_plain(numbers: Slots) -> None:
    """Refuse values that JSON cannot hold.

    Raises:
        OptionError: a value is neither a number nor a text.
    """
    for slot, value in numbers.items():
        if not isinstance(value, bool | int | float | str | None):
            raise OptionError(
                f"the optimiser keeps a {type(value).__name__} as '{slot}' of a parameter, which a resume file cannot "
                "hold; use an optimiser whose state is tensors and numbers"
            )
