"""The size of weights as scores."""

from torch import nn

from prunectl.criteria.base.criterion import Batches
from prunectl.masks import prunable
from prunectl.scores import Scores


def absolute(model: nn.Module, data: Batches) -> Scores:
    """|θ| of every prunable weight. Source: Han et al. 2015, arXiv:1506.02626, section 3.1."""
    return Scores({name: weight.detach().abs().float() for name, weight in prunable(model).items()})
