"""Converts removed nodes to masks, and masks to removed nodes."""

import torch
from torch import Tensor, nn

from prunectl.masks import Masks
from prunectl.structure.nodes import Structure


def node_masks(structure: Structure, removed: Tensor, model: nn.Module) -> Masks:
    """Mask the `removed` nodes (bool, (nodes,)) on every axis of every parameter that carries them."""
    gone, parameters = structure.gone(removed), dict(model.named_parameters())
    masks: dict[str, Tensor] = {}
    for (name, axis), classes in structure.axes.items():
        if name in parameters and gone[classes].any():
            where = torch.nonzero(gone[classes]).flatten().to(parameters[name].device)
            mask = masks.setdefault(name, torch.ones_like(parameters[name], dtype=torch.bool))
            mask.index_fill_(axis, where, False)
    return Masks(masks)


def merged(one: Masks, other: Masks) -> Masks:
    """Keep what both masks keep."""
    both = {name: one[name] & other[name] for name in one if name in other}
    return Masks({**one, **other, **both})


def dead_nodes(structure: Structure, masks: Masks, model: nn.Module) -> Tensor:
    """The nodes whose slices of all parameters are completely masked: bool (nodes,)."""
    parameters = {name for name, _ in model.named_parameters()}
    lives, seen = (torch.zeros(structure.nodes + 1, dtype=torch.bool) for _ in range(2))
    for (name, axis), classes in structure.axes.items():
        if name in parameters:
            seen[classes] = True
            kept = _slices(masks[name], axis).any(1).cpu() if name in masks else slice(None)
            lives[classes[kept]] = True
    return (seen & ~lives)[:-1]


def _slices(mask: Tensor, axis: int) -> Tensor:
    """One row for every index on an axis."""
    return mask.movedim(axis, 0).reshape(mask.shape[axis], -1)
