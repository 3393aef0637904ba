"""HoyerSquare and Group-HoyerSquare: train with the penalty, trim, continue without it (Yang et al. 2020)."""

import torch
from torch import Tensor, nn

from prunectl.criteria.base.absolute import absolute
from prunectl.criteria.base.callback import Callback
from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.errors import OptionError
from prunectl.masks import prunable
from prunectl.plugins.registry import resolve
from prunectl.scores import Scores
from prunectl.structure.gates import above_where, producers
from prunectl.structure.nodes import FROZEN, Structure

SOURCE = "Yang et al. 2020, arXiv:1908.09979"


class Hoyer(Callback):
    """Adds `strength` times the regulariser HoyerSquare to the loss, up to the round that trims.

    A shorter training needs a stronger penalty, else the trimmed weights are not yet near zero.
    """

    regulariser = "hoyer-square"

    def __init__(self, model: nn.Module, structure: Structure | None, images: int, *, strength: float = 1e-4) -> None:
        super().__init__()
        if strength < 0:
            raise OptionError(f"strength must be 0 or more, got {strength}")
        self.strength, self.value = strength, resolve("regularizer", self.regulariser)

    def penalty(self, model: nn.Module) -> Tensor:
        """The regulariser, weighted."""
        weighted: Tensor = self.strength * self.value(model)
        return weighted


class GroupHoyer(Hoyer):
    """The same with groups: filters, channels, rows and columns, which are fewer."""

    regulariser = "group-hoyer-square"

    def __init__(self, model: nn.Module, structure: Structure | None, images: int, *, strength: float = 1e-2) -> None:
        super().__init__(model, structure, images, strength=strength)


def largest_of_filter(model: nn.Module, data: Batches, structure: Structure) -> Scores:
    """The largest |θ| of the prunable weights that output a node: a node is removed only if all of them are trimmed.

    Source: Yang, Wen & Li 2020 (arXiv:1908.09979), section 3.
    """
    weights, largest = prunable(model), torch.full((structure.nodes + 1,), -1.0)  # the last entry stands for FROZEN
    for name, axis in producers(structure, model):
        if name in weights:
            slices = weights[name].detach().movedim(axis, 0).flatten(1).abs().amax(1).float().cpu()
            largest.scatter_reduce_(0, structure.axes[name, axis] % (structure.nodes + 1), slices, "amax")
    return above_where((largest < 0)[:FROZEN], largest[:FROZEN])


hoyer_square = Criterion(
    absolute,
    schedule="one-shot",
    scope="global",
    source=SOURCE,
    when="during",
    needs_data=False,
    callback=Hoyer,
)
group_hoyer_square = Criterion(
    largest_of_filter,
    schedule="one-shot",
    scope="global",
    source=SOURCE,
    unit="nodes",
    normalize="l2",
    normalize_budget="max",
    when="during",
    needs_data=False,
    callback=GroupHoyer,
)
