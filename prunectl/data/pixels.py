"""Resizes and measures the pixels of datasets."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from prunectl.data.images import Preprocessing

_CHUNK = 2**24  # pixels held as floats at one time


def resized(pixels: Tensor, size: int | None) -> Tensor:
    """Resize uint8 pixels (N, C, H, W) to (N, C, size, size), bilinearly; None does not resize."""
    if size is None or pixels.shape[2:] == (size, size):
        return pixels
    count, channels, height, width = pixels.shape
    result = pixels.new_empty(count, channels, size, size)
    step = max(1, _CHUNK // (channels * max(size * size, height * width)))
    smaller = size < min(height, width)
    for first in range(0, count, step):
        part = pixels[first : first + step].float()
        part = interpolate(part, (size, size), mode="bilinear", align_corners=False, antialias=smaller)
        result[first : first + step] = part.round_().clamp_(0, 255).to(torch.uint8)
    return result


def statistics(pixels: Tensor) -> Preprocessing:
    """Mean and standard deviation per channel of uint8 pixels (N, C, H, W), in [0, 1], to four digits."""
    channels = pixels.shape[1]
    counts = torch.zeros(channels, 256, dtype=torch.float64)
    step = max(1, _CHUNK // pixels[0].numel())
    for part in torch.split(pixels, step):
        counts += torch.stack([part[:, c].flatten().bincount(minlength=256) for c in range(channels)])
    share = counts / counts.sum(1, keepdim=True)
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = share @ values
    std = ((values - mean[:, None]).square() * share).sum(1).sqrt().clamp(min=1 / 255)  # one colour only: not 0
    return Preprocessing(_rounded(mean), _rounded(std))


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values.tolist())
