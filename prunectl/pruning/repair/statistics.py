"""bn: estimates the running statistics of a BatchNorm again."""

import torch

from prunectl.pruning.repair.layers import Norm
from prunectl.pruning.repair.walk import PRUNED, Walk


def recalibrate_(walk: Walk, norm: Norm) -> None:
    """Set the running mean and variance to those of all images in the network's eval mode.

    `walk` has advanced to the BatchNorm, so earlier BatchNorms have their new statistics: the result equals averages
    with momentum None (torch.nn.BatchNorm2d) over one batch of all images. The variance is unbiased, as in torch.
    """
    count, one, two = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for x in walk.values(PRUNED, norm.input):
        rows = x.double().movedim(1, -1).flatten(0, -2)  # (N, C)
        count, one, two = count + len(rows), one + rows.sum(0), two + rows.square().sum(0)
    mean, tensors = one / count, walk.networks[PRUNED]
    variance = (two / count - mean.square()).clamp_min(0) * (count / max(count - 1, 1))
    tensors[norm.mean].copy_(mean)
    tensors[norm.var].copy_(variance)
