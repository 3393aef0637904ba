"""FPGM: prunes filters close to the geometric median of their layer (He et al. 2019)."""

import torch
from torch import Tensor, nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.masks import prunable
from prunectl.scores import Scores
from prunectl.structure.gates import at_filters
from prunectl.structure.nodes import Structure


def filter_distances(model: nn.Module, data: Batches, structure: Structure) -> Scores:
    """Σ ‖θ_j - θ_k‖₂ of every filter j over the remaining filters k of its layer, summed over coupled channels.

    The filter with the least sum is the closest to the geometric median, which the others represent. Source: He et al.
    2019 (arXiv:1811.00250), eq. 5 to 7.
    """
    weights = {name: weight.detach() for name, weight in prunable(model).items()}
    return at_filters(structure, model, weights, of_rows=_distances)


def _distances(rows: Tensor) -> Tensor:
    """The sum of the distances of every row (n, d) to the rows that are not all zero, (n,)."""
    rows = rows.double()
    return torch.cdist(rows, rows[rows.any(1)]).sum(1)


fpgm = Criterion(
    filter_distances,
    schedule="one-shot",
    scope="layer",
    source="He et al. 2019, arXiv:1811.00250, eq. 5 to 7",
    unit="nodes",
    when="after",
    needs_data=False,
)
