"""Reorders nodes by permuting every axis that carries them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from prunectl.structure.nodes import FROZEN, Structure


def node_kinds(structure: Structure) -> Tensor:
    """A number for every node, int64 (nodes,), equal for nodes with equally many indices on the same axes."""
    kinds = torch.zeros(structure.nodes, dtype=torch.int64)
    axes = [*structure.axes.values(), *(classes for product in structure.products for classes in product.axes)]
    for classes in {axis.numpy().tobytes(): axis for axis in axes}.values():
        own = torch.bincount(classes[classes != FROZEN], minlength=structure.nodes)
        kinds = torch.unique(torch.stack([kinds, own]), dim=1, return_inverse=True)[1]
    return kinds


def reorder_(tensors: Mapping[str, Tensor], structure: Structure, order: Tensor) -> None:
    """Move node n to the place of node `order[n]`, int64 (nodes,), in all tensors; both must be of one kind.

    The network's function stays the same if it treats all moved nodes alike, which only a comparison of outputs can
    show: a norm over groups of channels does not.
    """
    done: set[tuple[int, int]] = set()
    for (name, axis), classes in structure.axes.items():
        if name in tensors and (id(tensors[name]), axis) not in done:
            done.add((id(tensors[name]), axis))  # one tensor may have several names
            source = _source(classes, order)
            if source is not None:
                tensor = tensors[name]
                with torch.no_grad():
                    tensor.copy_(tensor.index_select(axis, source.to(tensor.device)))


def _source(classes: Tensor, order: Tensor) -> Tensor | None:
    """Where every index of an axis comes from, None if all stay."""
    places = torch.argsort(classes, stable=True)
    ascending = classes[places]
    rank = torch.empty_like(places)
    rank[places] = torch.arange(len(classes)) - torch.searchsorted(ascending, ascending)
    moves = classes != FROZEN
    wanted = order[classes[moves]]
    source = torch.arange(len(classes))
    source[moves] = places[torch.searchsorted(ascending, wanted) + rank[moves]]
    return None if (source == torch.arange(len(classes))).all() else source
