"""Nodes: which slices of which tensors belong together, and which of them a mask has cut off."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunectl.errors import StructureError
from prunectl.masks import Masks, prunable

FROZEN = -1


@dataclass(frozen=True, eq=False)
class Structure:
    """What analysis hands to surgery.

    `axes` maps (parameter or buffer name, axis) to the class of every index on that axis, int64; a class, 0 to
    `nodes` - 1, is one node, and goes as a whole. FROZEN marks indices that must stay: the image's channels and the
    network's outputs.
    """

    axes: Mapping[tuple[str, int], Tensor]
    nodes: int


@dataclass(frozen=True, eq=False)
class Wiring:
    """One prunable weight as a graph: `linked[o, i]` = some weight from input i to output o is kept."""

    name: str
    outputs: Tensor
    inputs: Tensor
    linked: Tensor


def wirings(structure: Structure, model: nn.Module, masks: Masks) -> list[Wiring]:
    """The wiring of every prunable layer, in the model's order."""
    found = []
    for name, weight in prunable(model).items():
        mask = masks[name].cpu() if name in masks else torch.ones(weight.shape[:2], dtype=torch.bool)
        linked = mask.flatten(2).any(2) if mask.ndim > 2 else mask  # (out, in)
        found.append(Wiring(name, structure.axes[name, 0], structure.axes[name, 1], linked))
    return found


def connected(wires: list[Wiring], removed: Tensor) -> tuple[Tensor, Tensor]:
    """Which classes some node feeds, and which feed some node, when the `removed` ones (bool, (nodes + 1,)) are gone.

    The last entry of `removed` stands for FROZEN (index -1) and is False.
    """
    fed, feeds = torch.zeros_like(removed), torch.zeros_like(removed)
    for wire in wires:
        live = wire.linked & ~removed[wire.outputs][:, None] & ~removed[wire.inputs][None, :]
        fed[wire.outputs[live.any(1)]] = True
        feeds[wire.inputs[live.any(0)]] = True
    return fed, feeds


def cut_off(structure: Structure, model: nn.Module, masks: Masks) -> Tensor:
    """The nodes on no path of kept weights from the image to an output: bool (nodes,)."""
    wires = wirings(structure, model, masks)
    removed = torch.zeros(structure.nodes + 1, dtype=torch.bool)
    while True:
        fed, feeds = connected(wires, removed)
        now = ~(fed & feeds)
        now[FROZEN] = False
        if torch.equal(now, removed):
            return removed[:-1]
        removed = now


def count_nodes(model: nn.Module, shape: tuple[int, int, int], masks: Masks | None = None) -> int | None:
    """How many nodes the network has, those left out that a mask cuts off; None if its structure cannot be followed."""
    from prunectl.structure.trace import trace  # noqa: PLC0415

    try:
        structure = trace(model, shape)
    except StructureError:
        return None
    return structure.nodes - (int(cut_off(structure, model, masks).sum()) if masks else 0)
