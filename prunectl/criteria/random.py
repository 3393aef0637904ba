"""Random: the control that every criterion has to beat."""

from dataclasses import replace

import torch
from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.masks import prunable
from prunectl.scores import Scores


def uniform(model: nn.Module, data: Batches) -> Scores:
    """Uniform draws from torch's random state on the cpu, so that every device keeps the same weights."""
    return Scores({name: torch.rand(weight.shape).to(weight.device) for name, weight in prunable(model).items()})


random = Criterion(
    uniform,
    schedule="one-shot",
    scope="layer",
    source="control; Gale et al. 2019, arXiv:1902.09574",
    needs_data=False,
)
erk = replace(random, scope="erk", source="Evci et al. 2020, arXiv:1911.11134, section 3")
