"""Nodes: which slices of which tensors belong together, and which of them a mask has cut off."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
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
    consumers: frozenset[tuple[str, int]] = frozenset()
    """The axes through which weights read a node: the columns of a linear layer, the input channels of a convolution.

    All other axes of parameters make a node, or change it on its way (norms, depthwise convolutions).
    """
    products: tuple["Product", ...] = ()
    """Every multiplication of matrices or convolution that runs for one image."""
    image: Tensor = field(default_factory=lambda: torch.tensor([FROZEN]))
    """The class of every channel of the image, int64 (C,): FROZEN, but where outer layers may be pruned."""
    reasons: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """Why an axis, or some of its indices, must stay."""

    @cached_property
    def groups(self) -> Tensor:
        """The group of every node, int64 (nodes,): nodes that lie on a common axis are of one group."""
        starts, others = [], []
        for classes in self.axes.values():
            free = classes[classes != FROZEN]
            starts.append(free[:1].expand_as(free))
            others.append(free)
        rows, columns = (torch.cat([torch.empty(0, dtype=torch.int64), *part]).numpy() for part in (starts, others))
        links = coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(self.nodes, self.nodes))
        return torch.from_numpy(connected_components(links, directed=False)[1]).long()

    def gone(self, removed: Tensor) -> Tensor:
        """`removed` (bool, (nodes,)) with an entry False for FROZEN at the end, so that it can be indexed by class."""
        return torch.cat([removed.cpu(), torch.tensor([False])])

    def flops(self, removed: Tensor) -> int:
        """FLOPs per image (2 x multiply-accumulates) without the `removed` nodes (bool, (nodes,))."""
        gone = self.gone(removed)
        return sum(product.flops(gone) for product in self.products)


@dataclass(frozen=True, eq=False)
class Product:
    """A multiplication of matrices or a convolution: `factor` x the product of the lengths of `axes` MACs per image.

    `axes` hold the classes of the indices that carry nodes; `name` is the weight's, "" where two activations meet.
    """

    name: str
    factor: int
    axes: tuple[Tensor, ...]

    def flops(self, gone: Tensor) -> int:
        """FLOPs (2 x multiply-accumulates) without the classes that are True in `gone`, (nodes + 1,)."""
        return 2 * self.factor * prod(int((~gone[classes]).sum()) for classes in self.axes)


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
