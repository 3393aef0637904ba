"""Pruning filters for efficient convnets: the L1 norm of a filter (Li et al. 2017)."""

from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.masks import prunable
from prunectl.scores import Scores
from prunectl.structure.gates import at_filters
from prunectl.structure.nodes import Structure


def filter_norm(model: nn.Module, data: Batches, structure: Structure) -> Scores:
    """Σ|θ| of all prunable weights that output a node: its filters, summed over coupled channels.

    Source: Li et al. 2017, arXiv:1608.08710, section 3.1. The paper chooses the share of each layer by hand; here
    normalised scores replace that, and `--scope layer` prunes the same share of every layer.
    """
    sizes = {name: weight.detach().abs() for name, weight in prunable(model).items()}
    return at_filters(structure, model, sizes)


efficient_convnets = Criterion(
    filter_norm,
    schedule="one-shot",
    scope="global",
    source="Li et al. 2017, arXiv:1608.08710",
    unit="nodes",
    normalize="l2",
    normalize_budget="max",
    when="after",
    needs_data=False,
)
