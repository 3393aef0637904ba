"""The images that a repair uses: training images in a fixed order, or noise."""

from collections.abc import Iterator

import torch
from torch import Tensor

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.images import ImageData
from prunectl.torchtools.copies import in_type_of
from prunectl.torchtools.rng import seed_for


def training_images(checkpoint: Checkpoint, data: ImageData, n: int, size: int, seed: int) -> Iterator[Tensor]:
    """Batches (B, C, H, W) of `n` training images, or of all if there are fewer, drawn without labels."""
    generator = torch.Generator().manual_seed(seed_for("repair", seed))
    chosen = torch.randperm(len(data.train), generator=generator)[:n]
    images = data.train.take(chosen.to(data.train.labels.device))
    for pixels, _ in images.batches(size):
        yield in_type_of(checkpoint.model, checkpoint.preprocessing(pixels.to(checkpoint.device)))


def noise_images(checkpoint: Checkpoint, n: int, size: int, seed: int) -> Iterator[Tensor]:
    """Batches of `n` images of standard normal noise, instead of normalised images (OBSPA, arXiv:2403.18955)."""
    generator = torch.Generator().manual_seed(seed_for("repair", seed))
    for begun in range(0, n, size):
        batch = torch.randn(min(size, n - begun), *checkpoint.spec.input, generator=generator)
        yield in_type_of(checkpoint.model, batch.to(checkpoint.device))
