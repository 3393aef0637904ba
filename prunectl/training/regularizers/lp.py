"""Penalties on the size of weights: L1 and the Lp quasi-norms."""

import torch
from torch import Tensor, nn

from prunectl.errors import OptionError
from prunectl.masks import prunable

_SMOOTH = 1e-12  # keeps the gradient of |θ|^p finite at 0


def l1(model: nn.Module) -> Tensor:
    """Σ |θ| over the prunable weights: a scalar. Source: Tibshirani 1996."""
    return torch.stack([weight.abs().sum() for weight in prunable(model).values()]).sum()


def lp(model: nn.Module, *, p: float = 0.5) -> Tensor:
    """Σ (θ² + 1e-12)^(p/2) over the prunable weights, |θ|^p without its pole at 0: a scalar.

    Source: Frank & Friedman 1993 (bridge regression).

    Raises:
        OptionError: p is not above 0.
    """
    if not p > 0:
        raise OptionError(f"the exponent p must be above 0, got {p}")
    return torch.stack([(weight.square() + _SMOOTH).pow(p / 2).sum() for weight in prunable(model).values()]).sum()
