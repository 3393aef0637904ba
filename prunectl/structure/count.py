"""How many nodes a network has."""

from torch import nn

from prunectl.errors import StructureError
from prunectl.masks import Masks
from prunectl.structure.alive import cut_off
from prunectl.structure.trace import analyse


def count_nodes(model: nn.Module, shape: tuple[int, int, int], masks: Masks | None = None) -> int | None:
    """How many nodes the network has, those left out that a mask cuts off; None if its structure cannot be followed."""
    try:
        analysis = analyse(model, shape)
    except StructureError:
        return None
    return analysis.structure.nodes - (int(cut_off(analysis, masks).sum()) if masks else 0)
