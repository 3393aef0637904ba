"""Widths in multiples: how many nodes of a kind are removed or added back at a time."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import AUTO
from prunectl.checkpoints.original_shapes import nodes_present
from prunectl.errors import UnknownName
from prunectl.measuring.widths import BLOCK, WIDE
from prunectl.structure.nodes import FROZEN, Structure
from prunectl.structure.order import node_kinds


@dataclass(frozen=True, eq=False)
class Multiples:
    """`kinds` numbers the nodes by the axes that they lie on, int64 (nodes,); multiples of each make every width one.

    `steps` has the multiple of every kind, int64 (kinds,).
    """

    kinds: Tensor
    steps: Tensor

    @staticmethod
    def of(structure: Structure, multiple_of: int | str, shapes: Mapping[str, torch.Size] | None = None) -> "Multiples":
        """The same multiple for every kind; `auto` is 8 for kinds of more than 16 nodes, 1 for others.

        The nodes are counted before any pruning: `shapes` are those of the dense network's parameters, where they
        differ.
        """
        kinds = node_kinds(structure)
        widths = original_sizes(structure, kinds, shapes or {})
        if multiple_of == AUTO:
            return Multiples(kinds, torch.where(widths > WIDE, BLOCK, 1))
        return Multiples(kinds, torch.full_like(widths, int(multiple_of)))

    @property
    def counts(self) -> dict[str, int]:
        """How many kinds have each multiple."""
        steps, counts = torch.unique(self.steps, return_counts=True)
        return {str(step): count for step, count in zip(steps.tolist(), counts.tolist(), strict=True)}

    def odd_widths(self, structure: Structure, gone: Tensor) -> list[str]:
        """The layers whose outputs are no multiple of their step, as texts such as `fc1: 6`; frozen ones left out.

        `gone` (bool, (nodes,)) are the nodes that are removed. An axis of several kinds takes the smallest step.
        """
        odd: dict[bytes, str] = {}
        for (name, axis), classes in structure.axes.items():
            if (name, axis) in structure.consumers or (classes == FROZEN).any():
                continue
            width, step = int((~gone[classes]).sum()), int(self.steps[self.kinds[classes]].min())
            if width % step:
                odd.setdefault(classes.numpy().tobytes(), f"{name.rpartition('.')[0] or name}: {width}")
        return list(odd.values())


def original_sizes(structure: Structure, parts: Tensor, shapes: Mapping[str, torch.Size]) -> Tensor:
    """How many nodes each part had in the network whose parameters have these `shapes`, int64 (parts,).

    `parts` (nodes,) numbers the nodes, as `structure.groups` does. Of the axes that hold nodes of a part, the one with
    most of them says how much longer it was.
    """
    sizes = torch.bincount(parts, minlength=1)
    most, found = torch.zeros_like(sizes), sizes.clone()
    for (name, axis), classes in structure.axes.items():
        if name in shapes:
            own = torch.bincount(parts[torch.unique(classes[classes != FROZEN])], minlength=len(sizes))
            longer = own > most
            most[longer] = own[longer]
            found[longer] = (sizes[longer] * shapes[name][axis] / len(classes)).round().long()
    return found


def original_shapes(checkpoint: Checkpoint) -> dict[str, torch.Size]:
    """The shapes of a shrunk network's parameters before; none, where nothing builds the dense network again."""
    if checkpoint.edits and nodes_present(checkpoint) < (checkpoint.dense.nodes or 0):
        with suppress(UnknownName):
            return {name: parameter.shape for name, parameter in checkpoint.dense_network().named_parameters()}
    return {}
