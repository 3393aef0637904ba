"""Pruning filters for efficient convnets: the L1 norm of a filter (Li et al. 2017)."""

import torch
from torch import nn

from prunectl.criterion import Batches, Criterion
from prunectl.masks import prunable
from prunectl.scores import Scores
from prunectl.structure.gates import producers
from prunectl.structure.nodes import FROZEN, Structure


def filter_norm(model: nn.Module, data: Batches, structure: Structure) -> Scores:
    """Σ|θ| of all prunable weights that make a node: its filters, those of coupled channels added up.

    Source: Li et al. 2017, arXiv:1608.08710, section 3.1. All layers lose the same share, where the paper chooses the
    share of a layer by hand.
    """
    weights = prunable(model)
    norms = torch.zeros(structure.nodes + 1)  # the last entry stands for FROZEN
    for name, axis in producers(structure, model):
        if name in weights:
            slices = weights[name].detach().movedim(axis, 0).flatten(1).abs().sum(1).float().cpu()
            norms.index_add_(0, structure.axes[name, axis] % (structure.nodes + 1), slices)
    return Scores(nodes=norms[:FROZEN])


efficient_convnets = Criterion(
    filter_norm,
    schedule="one-shot",
    scope="layer",
    source="Li et al. 2017, arXiv:1608.08710",
    unit="nodes",
    when="after",
    needs_data=False,
)
