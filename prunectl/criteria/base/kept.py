"""Finds the entries of a parameter that pruning kept."""

from torch import Tensor


def kept_entries(parameter: Tensor) -> Tensor:
    """1 where it is not 0, else 0; 1 everywhere if it is all 0, since pruning keeps a weight in every layer."""
    kept = parameter.detach() != 0
    return (kept | ~kept.any()).to(parameter.detach())
