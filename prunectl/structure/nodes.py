"""Nodes: which slices of which tensors belong together."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from prunectl.structure.components import components
from prunectl.structure.labels import Reason

FROZEN = -1


@dataclass(frozen=True, eq=False)
class Structure:
    """The nodes of a network, found by analysis for surgery.

    `axes` maps (parameter or buffer name, axis) to the class of every index on that axis, int64. A class, a number
    below `nodes`, is one node, and is removed as a whole. FROZEN marks indices that must stay: the image's channels and
    the network's outputs.
    """

    axes: Mapping[tuple[str, int], Tensor]
    nodes: int
    consumers: frozenset[tuple[str, int]] = frozenset()
    """The axes through which weights read a node: the columns of a linear layer, the input channels of a convolution.

    All other axes of parameters output a node, or change it on its way (norms, depthwise convolutions).
    """
    products: tuple["Product", ...] = ()
    """All matrix multiplications and convolutions for one image."""
    image: Tensor = field(default_factory=lambda: torch.tensor([FROZEN]))
    """The class of every channel of the image, int64 (C,): FROZEN, unless outer layers may be pruned."""
    reasons: Mapping[tuple[str, int], Reason] = field(default_factory=dict)
    """Why an axis, or some of its indices, must stay."""

    @cached_property
    def groups(self) -> Tensor:
        """The group of every node, int64 (nodes,): nodes on a common axis are in one group."""
        starts, others = [], []
        for classes in self.axes.values():
            free = classes[classes != FROZEN]
            starts.append(free[:1].expand_as(free))
            others.append(free)
        rows, columns = (torch.cat([torch.empty(0, dtype=torch.int64), *part]).numpy() for part in (starts, others))
        return torch.from_numpy(components(rows, columns, self.nodes)).long()

    def gone(self, removed: Tensor) -> Tensor:
        """`removed` (bool, (nodes,)) with False for FROZEN at the end, so that it can be indexed by class."""
        return torch.cat([removed.cpu(), torch.tensor([False])])

    def frozen(self, nodes: Tensor) -> "Structure":
        """The same structure with some nodes (bool, (nodes,)) FROZEN on every axis."""
        if not nodes.any():
            return self
        number = torch.where(nodes, FROZEN, torch.arange(self.nodes))
        number = torch.cat([number, torch.tensor([FROZEN])])
        axes = {key: number[classes] for key, classes in self.axes.items()}
        products = tuple(replace(p, axes=tuple(number[classes] for classes in p.axes)) for p in self.products)
        return replace(self, axes=axes, products=products, image=number[self.image])

    def to(self, device: torch.device) -> "Structure":
        """The same with its classes on a device, to index by them in every training step."""
        axes = {key: classes.to(device) for key, classes in self.axes.items()}
        products = tuple(replace(p, axes=tuple(classes.to(device) for classes in p.axes)) for p in self.products)
        return replace(self, axes=axes, products=products)

    def flops(self, removed: Tensor) -> int:
        """FLOPs per image (2 x multiply-accumulates) without the `removed` nodes (bool, (nodes,))."""
        gone = self.gone(removed)
        return sum(product.flops(gone) for product in self.products)


@dataclass(frozen=True, eq=False)
class Product:
    """A matrix multiplication or a convolution: `factor` x the product of the lengths of `axes` MACs per image.

    `axes` hold the classes of the indices that carry nodes; `name` is the weight's, "" for two activations.
    """

    name: str
    factor: int
    axes: tuple[Tensor, ...]

    def flops(self, gone: Tensor) -> int:
        """FLOPs (2 x multiply-accumulates) without the classes that are True in `gone`, (nodes + 1,)."""
        return 2 * self.factor * prod(int((~gone[classes]).sum()) for classes in self.axes)
