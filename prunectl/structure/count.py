"""How many nodes a network has."""

from torch import nn

from prunectl.errors import StructureError
from prunectl.masks import Masks
from prunectl.structure.liveness import cut_off
from prunectl.structure.trace import analyse, trace


def count_nodes(model: nn.Module, shape: tuple[int, int, int]) -> int | None:
    """How many nodes a network has; None if its structure cannot be followed."""
    try:
        return trace(model, shape).nodes
    except StructureError:
        return None


def count_cut_off(model: nn.Module, shape: tuple[int, int, int], masks: Masks) -> int | None:
    """How many nodes a mask cuts off from the image or from the outputs; None if they cannot be followed."""
    try:
        return int(cut_off(model, analyse(model, shape), masks).sum())
    except StructureError:
        return None
