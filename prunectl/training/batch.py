"""Batch: the images of one training step with their targets; mixup and cutout."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from prunectl.data.images import mixed


@dataclass(frozen=True)
class Batch:
    """Pixels (B, C, H, W) in [0, 255] and labels (B,), with second labels and a teacher's logits if there are any."""

    pixels: Tensor
    labels: Tensor
    second: Tensor | None = None
    """Labels (B,) of the images that were mixed in."""
    share: float = 1.0
    """The share of the first images in a mixture."""
    teacher: Tensor | None = None
    """Logits (B, classes) of the teacher on these pixels."""
    whole: int = 0
    """Images of the whole batch, if these are one process's part of it; else 0."""

    @property
    def images(self) -> int:
        """Images of the whole batch."""
        return self.whole or len(self.labels)

    def part(self, rows: slice) -> "Batch":
        """Some of the images, as a part of this batch."""
        second, teacher = (None if each is None else each[rows] for each in (self.second, self.teacher))
        labels = self.labels[rows]
        whole = len(self.labels) if len(labels) < len(self.labels) else 0
        return replace(self, pixels=self.pixels[rows], labels=labels, second=second, teacher=teacher, whole=whole)


def changed(batch: Batch, *, cutout: bool, mixup: float, mean: tuple[float, ...], seed: int) -> Batch:
    """Cover and mix the images of a batch, with draws that depend only on the seed."""
    if not cutout and mixup == 0:
        return batch
    draws = np.random.default_rng(mixed(seed, 1))
    if cutout:
        batch = replace(batch, pixels=covered(batch.pixels, mean, draws))
    return batch if mixup == 0 else mixture(batch, mixup, draws)


def covered(pixels: Tensor, mean: tuple[float, ...], draws: np.random.Generator) -> Tensor:
    """Cutout (DeVries and Taylor 2017, arXiv:1708.04552): the mean in a square of half the smaller side.

    The centre is a random pixel of each image; the square is cut off at the border. `mean` holds one value in [0, 1]
    per channel, so the square is zero after normalisation.
    """
    count, _, height, width = pixels.shape
    half = min(height, width) // 4
    rows, columns = (torch.from_numpy(draws.integers(0, size, count)).to(pixels.device) for size in (height, width))
    inside = _near(rows, height, half)[:, :, None] & _near(columns, width, half)[:, None, :]  # (B, H, W)
    filling = torch.tensor(mean, device=pixels.device).mul(255).view(1, -1, 1, 1)
    return torch.where(inside[:, None], filling, pixels.float())


def mixture(batch: Batch, alpha: float, draws: np.random.Generator) -> Batch:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412, equation 1): each image with another one of the batch.

    The share of the first is drawn from Beta(alpha, alpha), once for the batch.
    """
    share = float(draws.beta(alpha, alpha))
    other = torch.from_numpy(draws.permutation(len(batch.labels))).to(batch.labels.device)
    pixels = batch.pixels.float()
    return replace(batch, pixels=share * pixels + (1 - share) * pixels[other], second=batch.labels[other], share=share)


def _near(centres: Tensor, size: int, half: int) -> Tensor:
    """(B, size): which positions are in [centre - half, centre + half)."""
    positions = torch.arange(size, device=centres.device)
    return (positions >= centres[:, None] - half) & (positions < centres[:, None] + half)
