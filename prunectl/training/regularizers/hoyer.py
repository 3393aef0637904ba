"""DeepHoyer: scale-invariant penalties that make weights or whole filters zero (Yang et al. 2020)."""

import torch
from torch import Tensor, nn

from prunectl.errors import OptionError
from prunectl.masks import prunable


def hoyer_square(model: nn.Module) -> Tensor:
    """Σ (Σ|θ|)² / Σθ² over the prunable weights of every layer: a scalar.

    Source: Yang, Wen & Li 2020 (arXiv:1908.09979), section 3.
    """
    return torch.stack([_ratio(weight.abs().flatten()) for weight in prunable(model).values()]).sum()


def group_hoyer_square(model: nn.Module) -> Tensor:
    """Σ (Σ‖g‖)² / Σ‖g‖² over the outputs, and again over the inputs, of every layer: a scalar.

    The groups g are filters and channels, rows and columns. Source: Yang, Wen & Li 2020 (arXiv:1908.09979), section 3.
    """
    rows = [weight.movedim(axis, 0).flatten(1) for weight in prunable(model).values() for axis in (0, 1)]
    return torch.stack([_ratio(_norms(row)) for row in rows]).sum()


def bn_scales(model: nn.Module) -> Tensor:
    """Σ |γ| over the scales of all BatchNorms: a scalar. Source: Liu et al. 2017 (arXiv:1708.06519), section 3.

    Raises:
        OptionError: the network has no BatchNorm.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.affine]
    if not norms:
        raise OptionError("bn-l1 shrinks the scales of BatchNorm, but this network has no BatchNorm; use l1")
    return torch.stack([norm.weight.abs().sum() for norm in norms]).sum()


def _ratio(sizes: Tensor) -> Tensor:
    """(Σ s)² / Σ s² of sizes s >= 0; 0 where all are zero."""
    squares = sizes.square().sum()
    return sizes.sum().square() / squares.where(squares > 0, 1)


def _norms(rows: Tensor) -> Tensor:
    """The norm of every row, with gradient 0 where the row is zero."""
    squares = rows.square().sum(1)
    return squares.where(squares > 0, 1).sqrt() * (squares > 0)
