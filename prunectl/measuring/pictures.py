"""Pictures of what a network does, as tensors: its confusions, and where in an image its loss is sensitive."""

import torch
from torch import Tensor, nn

from prunectl.data.images import Preprocessing
from prunectl.torchtools.contexts import evaluating

_SIDE = 256
"""Pixels that a picture has on its longer side, at least, so that a person sees something."""
_INK = (8, 48, 107)
"""The colour of 1; 0 is white."""


def confusion_picture(confusion: Tensor) -> Tensor:
    """Counts `confusion[true, predicted]` as shares of their row, white to blue: uint8 (3, H, W)."""
    shares = confusion.float() / confusion.sum(1, keepdim=True).clamp(min=1)
    ink = torch.tensor(_INK, dtype=torch.float32).view(3, 1, 1)
    return _enlarged((255 - shares * (255 - ink)).round().to(torch.uint8))


def saliency_picture(model: nn.Module, pixels: Tensor, labels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Images (B, C, H, W) uint8 side by side, and below each its saliency: uint8 (3, 2 H, B W), enlarged."""
    shown = pixels if pixels.shape[1] == 3 else pixels[:, :1].expand(-1, 3, -1, -1)
    heat = saliency(model, pixels, labels, preprocessing)
    below = (heat * 255).round().to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    columns = torch.cat([shown.to(below.device), below], 2)  # (B, 3, 2 H, W)
    return _enlarged(columns.permute(1, 2, 0, 3).flatten(2).cpu())


def saliency(model: nn.Module, pixels: Tensor, labels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """|dL/dx|, the largest over the channels, as a share of the largest in its image: (B, H, W), in eval mode.

    Source: Simonyan et al. 2013, arXiv:1312.6034, section 3, there of a class's score.
    """
    inputs = preprocessing(pixels).detach().requires_grad_(True)
    with evaluating(model), torch.enable_grad():
        loss = nn.functional.cross_entropy(model(inputs), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, inputs)
    heat = gradient.abs().amax(1)
    most = heat.amax((1, 2), keepdim=True)
    return torch.where(most > 0, heat / most, 0.0)


def _enlarged(picture: Tensor) -> Tensor:
    """Every pixel as a square, so that the longer side has _SIDE pixels or more."""
    times = -(-_SIDE // max(picture.shape[1:]))
    return picture.repeat_interleave(times, 1).repeat_interleave(times, 2)
