"""Which entries of a parameter pruning has left."""

from torch import Tensor


def kept_entries(parameter: Tensor) -> Tensor:
    """1 where it is not 0, or everywhere if it is all 0, as pruning leaves a weight in every layer; else 0."""
    kept = parameter.detach() != 0
    return (kept | ~kept.any()).to(parameter.detach())
