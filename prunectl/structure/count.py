"""Counts the nodes of a network."""

from torch import nn

from prunectl.errors import StructureError
from prunectl.masks import Masks
from prunectl.structure.liveness import cut_off
from prunectl.structure.trace import analyse, trace


def count_nodes(model: nn.Module, shape: tuple[int, int, int]) -> int | None:
    """The number of nodes of a network; None if its structure cannot be traced."""
    try:
        return trace(model, shape).nodes
    except StructureError:
        return None


def count_cut_off(model: nn.Module, shape: tuple[int, int, int], masks: Masks) -> int | None:
    """The number of nodes that masks cut off from the image or the outputs; None if they cannot be traced."""
    try:
        return int(cut_off(model, analyse(model, shape), masks).sum())
    except StructureError:
        return None
