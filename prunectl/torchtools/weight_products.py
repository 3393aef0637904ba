"""Recognises, in a dispatch mode, torch operations that multiply by the weight of a convolution or linear layer."""

from typing import Any, NamedTuple

from torch import Tensor

from prunectl.torchtools.storages import Storages

CHANNEL_AXIS = {"convolution": 1, "addmm": -1, "mm": -1}
"""These operations, and the axis of their channels."""


class WeightProduct(NamedTuple):
    """The input of an operation, the name of the weight that it multiplies by, and the axis of its channels."""

    taken: Tensor
    name: str
    axis: int

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution."""
        return self.axis == CHANNEL_AXIS["convolution"]


def weight_product(func: Any, args: Any, weights: Storages) -> WeightProduct | None:
    """The product that an operation computes; None if it is no product with one of the weights."""
    kind = func._overloadpacket.__name__
    names = weights.among(args)[:1] if kind in CHANNEL_AXIS else []
    behind_bias = kind == "addmm"
    return WeightProduct(args[1 if behind_bias else 0], names[0], CHANNEL_AXIS[kind]) if names else None
