"""Removal of nodes: index_select on every axis that carries them."""

import copy

import torch
from torch import Tensor, nn

from prunectl.masks import Masks
from prunectl.shapes import load_state_
from prunectl.structure.nodes import Structure


def remove(model: nn.Module, masks: Masks, structure: Structure, removed: Tensor) -> tuple[nn.Module, Masks]:
    """A smaller copy of a network and its masks, without the `removed` nodes (bool, (nodes,)).

    A mask that prunes nothing any more is dropped.
    """
    gone = torch.cat([removed, torch.tensor([False])])  # index -1, FROZEN, is never removed
    state, cut = dict(model.state_dict()), dict(masks)
    for (name, axis), classes in structure.axes.items():
        kept = torch.nonzero(~gone[classes]).flatten()
        state[name] = state[name].index_select(axis, kept.to(state[name].device))
        if name in cut:
            cut[name] = cut[name].index_select(axis, kept.to(cut[name].device))
    small = copy.deepcopy(model)
    load_state_(small, {name: tensor.clone() for name, tensor in state.items()}, "the smaller network")
    return small, Masks({name: mask for name, mask in cut.items() if not mask.all()})
