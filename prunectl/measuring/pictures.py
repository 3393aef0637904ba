"""Makes pictures of a network as tensors: its confusion matrix, and the saliency of its loss."""

import torch
from torch import Tensor, nn

from prunectl.data.images import Preprocessing
from prunectl.measuring.saliency import saliency

_SIDE = 256
"""Least pixels on the longer side of a picture."""
_INK = (8, 48, 107)
"""The colour of 1; 0 is white."""


def confusion_picture(confusion: Tensor) -> Tensor:
    """Counts `confusion[true, predicted]` as shares of their row, from white to blue: uint8 (3, H, W)."""
    shares = confusion.float() / confusion.sum(1, keepdim=True).clamp(min=1)
    ink = torch.tensor(_INK, dtype=torch.float32).view(3, 1, 1)
    return _enlarged((255 - shares * (255 - ink)).round().to(torch.uint8))


def saliency_picture(model: nn.Module, pixels: Tensor, labels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Images (B, C, H, W) uint8 side by side, the saliency of the loss below each: uint8 (3, 2 H, B W), enlarged."""

    def loss(logits: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, labels, reduction="sum")

    shown = pixels if pixels.shape[1] == 3 else pixels[:, :1].expand(-1, 3, -1, -1)
    heat, _ = saliency(model, pixels, preprocessing, loss)
    below = (heat * 255).round().to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    columns = torch.cat([shown.to(below.device), below], 2)  # (B, 3, 2 H, W)
    return _enlarged(columns.permute(1, 2, 0, 3).flatten(2).cpu())


def _enlarged(picture: Tensor) -> Tensor:
    """Each pixel repeated as a square, until the longer side has at least _SIDE pixels."""
    times = -(-_SIDE // max(picture.shape[1:]))
    return picture.repeat_interleave(times, 1).repeat_interleave(times, 2)
