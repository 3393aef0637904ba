"""Normalisations and means over channels of which some were removed: those count as zeros in the statistics.

With k of C entries removed, the mean is sum / C and the variance (sum of (x - mean)^2 + k mean^2) / C, over the rest.
"""

from math import prod

import torch
from torch import Tensor


def layer_norm(
    x: Tensor, axes: tuple[int, ...], width: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Layer normalisation over `axes`, which held `width` entries in the original network."""
    y = _normalised(x, axes, width, eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x: Tensor, axes: tuple[int, ...], width: int, weight: Tensor | None, eps: float | None) -> Tensor:
    """Root mean square normalisation over `axes`, which held `width` entries in the original network."""
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    y = x * torch.rsqrt(x.square().sum(axes, keepdim=True) / width + eps)
    return y if weight is None else y * weight


def group_norm(x: Tensor, groups: int, channels: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Group normalisation of (B, C, ...), whose groups held `channels` channels each in the original network."""
    split = x.reshape(x.shape[0], groups, -1)
    y = _normalised(split, (2,), channels * prod(x.shape[2:]), eps).reshape(x.shape)
    shape = (1, -1, *(1,) * (x.ndim - 2))
    y = y if weight is None else y * weight.view(shape)
    return y if bias is None else y + bias.view(shape)


def batch_norm(
    x: Tensor, axes: tuple[int, ...], width: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Normalise every channel (axis 1) over `axes`, which held `width` entries in the original network."""
    shape = (1, -1, *(1,) * (x.ndim - 2))
    y = _normalised(x, axes, width, eps)
    y = y if weight is None else y * weight.view(shape)
    return y if bias is None else y + bias.view(shape)


def mean(x: Tensor, axes: tuple[int, ...], width: int, keepdim: bool) -> Tensor:
    """The mean over `axes`, which held `width` entries in the original network."""
    return x.sum(axes, keepdim=keepdim) / width


def _normalised(x: Tensor, axes: tuple[int, ...], width: int, eps: float) -> Tensor:
    gone = width - prod(x.shape[axis] for axis in axes)
    middle = x.sum(axes, keepdim=True) / width
    centred = x - middle
    variance = (centred.square().sum(axes, keepdim=True) + gone * middle.square()) / width
    return centred * torch.rsqrt(variance + eps)
