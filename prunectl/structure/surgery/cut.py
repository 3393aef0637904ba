"""Removes nodes with index_select on every axis that carries them, and resizes the modules."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunectl.errors import StructureError
from prunectl.masks import Masks
from prunectl.structure.nodes import Structure
from prunectl.structure.surgery.resize import load_state_, set_tensor_
from prunectl.torchtools.copies import like, with_tensors
from prunectl.torchtools.held import held_outside_state

Kept = dict[tuple[str, int], Tensor]
"""The remaining indices of every axis that loses some, int64; other axes are whole."""


def kept_indices(structure: Structure, removed: Tensor) -> Kept:
    """The indices of every axis without the `removed` nodes (bool, (nodes,)); ("", 1) are the image's channels."""
    gone = structure.gone(removed)
    axes = {**structure.axes, ("", 1): structure.image}
    found = {key: torch.nonzero(~gone[classes]).flatten() for key, classes in axes.items()}
    return {key: left for key, left in found.items() if len(left) < len(axes[key])}


def composed(before: Kept, after: Kept) -> Kept:
    """The indices of the first network that two consecutive removals keep."""
    both = {key: left[after[key]] if key in after else left for key, left in before.items()}
    return {**after, **both}


def since(before: Kept, after: Kept) -> Kept:
    """Indices kept by the second removal, relative to the network left by the first: the inverse of `composed`."""
    found = {key: torch.searchsorted(before[key], left) if key in before else left for key, left in after.items()}
    return {key: left for key, left in found.items() if key not in before or len(left) < len(before[key])}


def cut(tensors: Mapping[str, Tensor], kept: Kept) -> dict[str, Tensor]:
    """The tensors without the removed indices; unchanged ones are the same objects."""
    small = dict(tensors)
    for (name, axis), left in kept.items():
        if name in small:
            small[name] = small[name].index_select(axis, left.to(small[name].device))
    return small


def cut_model(model: nn.Module, kept: Kept) -> nn.Module:
    """A copy of a network with smaller tensors, whose layers have their new widths.

    Unchanged weights share memory with the network's own.

    Raises:
        StructureError: a list or another attribute holds a parameter that gets smaller.
    """
    _check_references(model, kept)
    small = with_tensors(model, lambda t: like(t, t.detach() if t.ndim > 1 else t.detach().clone()))
    load_state_(small, cut(model.state_dict(), kept), "the smaller network")
    cut_unstored_(small, kept)
    return small


def _check_references(model: nn.Module, kept: Kept) -> None:
    smaller = {name for name, _ in kept}
    names = {id(parameter): name for name, parameter in model.named_parameters() if name in smaller}
    for path, value in held_outside_state(model).items():
        if id(value) in names:
            raise StructureError(
                f"{path} holds the parameter {names[id(value)]} a second time, and would keep its old size; use "
                f"{names[id(value)]} itself in the forward pass"
            )


def cut_unstored_(model: nn.Module, kept: Kept) -> None:
    """Cut the buffers that are not in the state dict."""
    state = model.state_dict()
    unstored = {name: buffer for name, buffer in model.named_buffers() if name not in state}
    for name, buffer in cut(unstored, kept).items():
        if buffer is not unstored[name]:
            set_tensor_(model, name, buffer)


def cut_masks(masks: Masks, kept: Kept) -> Masks:
    """The masks of a smaller network; masks that no longer prune anything are dropped."""
    return Masks({name: mask for name, mask in cut(masks, kept).items() if not mask.all()})


def grown(model: nn.Module, masks: Masks, dense: nn.Module, kept: Kept) -> tuple[nn.Module, Masks]:
    """Expand a smaller network to the shapes of the dense one, with masks over the removed entries.

    Removed entries are zero (one for a variance). `dense` has the shapes, and becomes the result.
    """
    shapes = {name: tensor.shape for name, tensor in dense.state_dict().items()}
    parameters = {name for name, _ in dense.named_parameters()}  # a tied one has one mask
    places = {name: {axis: left for (n, axis), left in kept.items() if n == name} for name, _ in kept}
    state, full = {}, {}
    for name, tensor in model.state_dict().items():
        state[name] = _embedded(
            tensor, shapes[name], places.get(name, {}), 1.0 if name.endswith("running_var") else 0.0
        )
        if name in parameters and (name in masks or name in places):
            full[name] = _embedded(masks.of(name, tensor), shapes[name], places.get(name, {}), False)
    load_state_(dense, state, "the network in its original shapes")
    return dense.train(model.training), Masks(full)


def _embedded(tensor: Tensor, shape: torch.Size, places: dict[int, Tensor], fill: float | bool) -> Tensor:
    """A tensor of `shape` with another one at the given indices of each axis."""
    if not places:
        return tensor.detach().clone()
    whole = torch.full(shape, fill, dtype=tensor.dtype, device=tensor.device)
    index = [places.get(axis, torch.arange(size)).to(tensor.device) for axis, size in enumerate(shape)]
    whole[torch.meshgrid(*index, indexing="ij")] = tensor.detach()
    return whole
