"""CHIP: how much a feature map adds to the others of its layer (Sui et al. 2021)."""

import torch
from torch import Tensor, nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.feature_maps import over_maps
from prunectl.scores import Scores
from prunectl.structure.nodes import Structure


def independence(model: nn.Module, data: Batches, structure: Structure, *, images: int = 16) -> Scores:
    """‖A‖* - ‖M ⊙ A‖* of a layer's feature maps A (C, H · W), where M zeroes the node; mean over `images`.

    ‖·‖* is the nuclear norm, the sum of singular values. Time grows with C · min(C, H · W)³. Source: Sui et al. 2021
    (arXiv:2110.13981), section 3.2, channel independence of one map; they use 640 images.
    """
    return over_maps(model, data, structure, images, _losses)


def _losses(maps: Tensor, places: Tensor) -> Tensor:
    """The loss of nuclear norm of maps (B, C, H, W) without the channels of a node, summed over images."""
    rows = maps.double().flatten(2)
    wide = rows.shape[1] <= rows.shape[2]
    gram = rows @ rows.mT if wide else rows.mT @ rows
    whole, lost = _nuclear(gram), []
    for place in range(int(places.max()) + 1):
        kept, own = places != place, rows[:, places == place]
        lost.append(whole - _nuclear(gram[:, kept][:, :, kept] if wide else gram - own.mT @ own))
    return torch.stack(lost)


def _nuclear(grams: Tensor) -> Tensor:
    """The sum of the nuclear norms of matrices X, from X Xᵀ (B, n, n)."""
    values: Tensor = torch.linalg.eigvalsh(grams)
    return values.clamp_min(0).sqrt().sum()


chip = Criterion(
    independence,
    schedule="one-shot",
    scope="layer",
    source="Sui et al. 2021, arXiv:2110.13981, section 3.2",
    unit="nodes",
    when="after",
)
