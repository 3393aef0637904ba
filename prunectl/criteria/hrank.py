"""HRank: the rank of the feature map that a node computes (Lin et al. 2020)."""

import torch
from torch import Tensor, nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.feature_maps import over_maps
from prunectl.scores import Scores
from prunectl.structure.nodes import Structure


def map_rank(model: nn.Module, data: Batches, structure: Structure, *, images: int = 128) -> Scores:
    """The mean rank of a node's feature map (H, W) over `images` images, after the activation.

    The map of a neuron has rank 1 if it is not 0. Source: Lin et al. 2020 (arXiv:2002.10179), eq. 3 and 4; they use 500
    images, and the mean hardly depends on the number.
    """
    return over_maps(model, data, structure, images, _ranks)


def _ranks(maps: Tensor, places: Tensor) -> Tensor:
    """Ranks of maps (B, C, H, W), summed over images and over the channels of a node."""
    ranks = torch.linalg.matrix_rank(maps).sum(0)
    return torch.zeros(int(places.max()) + 1, dtype=ranks.dtype).index_add_(0, places, ranks)


hrank = Criterion(
    map_rank,
    schedule="one-shot",
    scope="layer",
    source="Lin et al. 2020, arXiv:2002.10179, eq. 4",
    unit="nodes",
    when="after",
)
