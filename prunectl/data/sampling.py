"""Batches to score on: endless, shuffled, with all classes balanced."""

from collections.abc import Iterator
from itertools import count

import torch
from torch import Tensor

from prunectl.data.images import ImageSource, Preprocessing, mixed
from prunectl.torchtools.rng import seed_for

_BLOCK = 8  # batches that are looked up together, so that images on disk are decoded side by side


def scoring_batches(
    images: ImageSource, preprocessing: Preprocessing, device: torch.device, size: int, seed: int, balanced: bool = True
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless normalised batches (B, C, H, W) with labels (B,) on a device.

    In balanced batches, the numbers of images of two classes differ by one at most.
    """
    size = min(size, len(images))
    if not balanced:
        for epoch in count():
            for pixels, labels in images.batches(size, seed=mixed(seed_for("scoring", seed), epoch)):
                yield preprocessing(pixels.to(device)), labels.to(device)
    chosen = balanced_indices(images.labels.cpu(), size, seed)
    while True:
        block = torch.cat([next(chosen) for _ in range(_BLOCK)])
        for pixels, labels in images.take(block.to(images.labels.device)).batches(size):
            yield preprocessing(pixels.to(device)), labels.to(device)


def balanced_indices(labels: Tensor, size: int, seed: int) -> Iterator[Tensor]:
    """Endless batches of `size` positions, int64.

    Every class has its own shuffled queue, shuffled again when it runs out; classes take turns at having one image more
    than others in a batch.
    """
    generator = torch.Generator().manual_seed(seed)
    queues = [_endless(members, generator) for members in _members(labels)]
    each, more = divmod(size, len(queues))
    turns = torch.zeros(len(queues))
    while True:
        last = torch.argsort(turns + torch.rand(len(queues), generator=generator))[:more]  # those with fewest turns
        turns[last] += 1
        wanted = torch.full((len(queues),), each).index_add_(0, last, torch.ones_like(last))
        picked = torch.tensor([next(queue) for queue, n in zip(queues, wanted.tolist(), strict=True) for _ in range(n)])
        yield picked[torch.randperm(size, generator=generator)]


def _members(labels: Tensor) -> list[Tensor]:
    """The positions of every class that has any."""
    order = torch.argsort(labels, stable=True)
    return list(torch.split(order, torch.unique(labels, return_counts=True)[1].tolist()))


def _endless(items: Tensor, generator: torch.Generator) -> Iterator[int]:
    """The items in random order, repeated endlessly."""
    while True:
        yield from items[torch.randperm(len(items), generator=generator)].tolist()
