"""Widths in multiples: the number of nodes of a kind that are removed or added back together."""

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
    """`kinds` numbers the nodes by the axes that carry them, int64 (nodes,); multiples of kinds make widths multiples.

    `steps` has the multiple of every kind, int64 (kinds,).
    """

    kinds: Tensor
    steps: Tensor

    @staticmethod
    def of(structure: Structure, multiple_of: int | str, shapes: Mapping[str, torch.Size] | None = None) -> "Multiples":
        """The same multiple for every kind; `auto` is 8 for kinds of more than 16 nodes, 1 for others.

        Nodes are counted before any pruning: `shapes` are those of the dense network's parameters, if they
        differ.
        """
        kinds = node_kinds(structure)
        widths = original_sizes(structure, kinds, shapes or {})
        if multiple_of == AUTO:
            return Multiples(kinds, torch.where(widths > WIDE, BLOCK, 1))
        return Multiples(kinds, torch.full_like(widths, int(multiple_of)))

    @property
    def counts(self) -> dict[str, int]:
        """The number of kinds with each multiple."""
        steps, counts = torch.unique(self.steps, return_counts=True)
        return {str(step): count for step, count in zip(steps.tolist(), counts.tolist(), strict=True)}

    def odd_widths(self, structure: Structure, gone: Tensor) -> list[str]:
        """The layers whose outputs are not a multiple of their step, as texts such as `fc1: 6`, without frozen ones.

        `gone` (bool, (nodes,)) are the removed nodes. An axis with several kinds has the smallest step.
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
    """The number of nodes of each part in the network whose parameters have these `shapes`, int64 (parts,).

    `parts` (nodes,) numbers the nodes, like `structure.groups`. The axis with most nodes of a part shows its former
    length.
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
    """The parameter shapes of a shrunk network's dense original; empty if that cannot be built."""
    if checkpoint.edits and nodes_present(checkpoint) < (checkpoint.dense.nodes or 0):
        with suppress(UnknownName):
            return {name: parameter.shape for name, parameter in checkpoint.dense_network().named_parameters()}
    return {}
