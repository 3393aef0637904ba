"""Structured random: the control that every criterion for nodes has to beat."""

import torch
from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.scores import Scores
from prunectl.structure.nodes import Structure


def uniform(model: nn.Module, data: Batches, structure: Structure) -> Scores:
    """Uniform draws from torch's random state on the cpu, one per node."""
    return Scores(nodes=torch.rand(structure.nodes))


structured_random = Criterion(
    uniform,
    schedule="one-shot",
    scope="layer",
    source="control; Verdenius et al. 2020, arXiv:2006.00896",
    unit="nodes",
    needs_data=False,
)
