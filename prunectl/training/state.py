"""State: a training as tensors and plain values, collected from its parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class State:
    """Everything that the next step of a training depends on, under the names of a resume file.

    Names of tensors begin with that of their kind (`model/0.weight`); names of values have no slash.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    @staticmethod
    def of(parts: Mapping[str, Any], *, live: bool = False) -> "State":
        """Separate tensors, which are copied to the cpu, from plain JSON values.

        `live` tensors are the training's own, which its next step changes; use them to write a file at once.
        """
        tensors, values = separated(parts)
        if live:
            return State({name: t.detach() for name, t in tensors.items()}, values)
        return State({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, values)

    @property
    def parts(self) -> dict[str, Any]:
        """Tensors and values in one mapping, from which every part loads its own."""
        return {**self.tensors, **self.values}


def separated(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a state, and its plain values."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return tensors, {name: value for name, value in state.items() if name not in tensors}


def under(kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by `kind/name`."""
    return {f"{kind}/{name}": tensor for name, tensor in tensors.items()}


def within(kind: str, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Undo `under`: the tensors of one kind by their own names."""
    prefix = f"{kind}/"
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
