"""Scores weights by their size."""

from torch import Tensor, nn

from prunectl.criteria.base.criterion import Batches
from prunectl.masks import prunable
from prunectl.scores import Made, Scores


def absolute(model: nn.Module, data: Batches) -> Scores:
    """|θ| of every prunable weight.

    Source: Han et al. 2015, arXiv:1506.02626, section 3.1.
    """
    return Scores(Made({name: weight.detach() for name, weight in prunable(model).items()}, _absolute))


def _absolute(weight: Tensor) -> Tensor:
    return weight.abs().float()
