"""Runs images through a network for criteria that use its feature maps."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from prunectl.criteria.base.criterion import Batches
from prunectl.errors import OptionError
from prunectl.torchtools import distributed
from prunectl.torchtools.contexts import evaluating, full_precision, slow_attention

_AT_ONCE = 16


def first_images(data: Batches, images: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The first images of a draw, with their labels, up to `size` at a time.

    Raises:
        OptionError: `images` is below 1.
    """
    if images < 1:
        raise OptionError(f"images must be 1 or more, got {images}")
    left = images
    for inputs, labels in data:
        yield from zip(torch.split(inputs[:left], size), torch.split(labels[:left], size), strict=True)
        left -= len(inputs)
        if left <= 0:
            return


def watched_passes(model: nn.Module, data: Batches, images: int, watching: TorchDispatchMode) -> Iterator[int]:
    """Run a network in eval mode and full precision, a few images at a time; yield their number after each pass.

    `watching` sees every operation of a pass, also within attention. Each of several processes takes its share.
    """
    device = next(model.parameters()).device.type
    with evaluating(model), torch.no_grad(), full_precision(), slow_attention(), torch.autocast(device, enabled=False):
        for inputs, _ in first_images(data, images, _AT_ONCE):
            mine = distributed.share(inputs)
            if len(mine):
                with watching:
                    model(mine)
                yield len(mine)
