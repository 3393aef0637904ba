"""Finds channels whose values differ between images, or between positions of an image."""

import torch
from torch import Tensor, nn

from prunectl.masks import Masks, prunable
from prunectl.pruning.reachability import Ends, Shape
from prunectl.torchtools.contexts import evaluating
from prunectl.torchtools.copies import like_parameters, with_tensors
from prunectl.torchtools.rng import forked

_DRAWS, _IMAGES = 3, 4
_SMALLEST = 1e-4
"""The smallest difference, relative to a channel's largest value, that does not count as rounding."""


def varying(model: nn.Module, masks: Masks, shape: Shape) -> Ends:
    """The channels that vary over random images or positions, at the input and output of each weight.

    Parameters are random too, so that the result does not depend on trained values, on zeros that training can move, or
    on a single image. The result is sound but incomplete: a channel that it misses may still vary after activations
    that pass little.
    """
    network = with_tensors(model, _copy)
    weights = prunable(network)
    ends = Ends(weights, _differ)
    generator = torch.Generator().manual_seed(0)
    like = like_parameters(network, 1)
    with torch.no_grad(), forked(like.device), evaluating(network), torch.autocast(like.device.type, enabled=False):
        for _ in range(_DRAWS):
            _randomise_(network, masks, generator)
            images = torch.randn(_IMAGES, *shape, generator=generator)
            darker = torch.randn(_IMAGES, 1, 1, 1, generator=generator)
            with ends:
                network((images + darker).to(like))
    return ends


def _randomise_(network: nn.Module, masks: Masks, generator: torch.Generator) -> None:
    """Draw parameters: scales and biases from 0.5 to 1.5, and masked weights that preserve a signal's scale."""
    for name, parameter in network.named_parameters():
        if parameter.is_floating_point():
            normal = torch.randn(parameter.shape, generator=generator).to(parameter)
            kept = masks.of(name, parameter).to(parameter)
            inputs = kept.flatten(1).sum(1).clamp_min(1).view(-1, *[1] * (kept.ndim - 1)) if kept.ndim > 1 else 1
            uniform = 0.5 + torch.rand(parameter.shape, generator=generator).to(parameter)
            parameter.copy_(kept * normal / inputs**0.5 if kept.ndim > 1 else uniform)
    for name, statistic in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            statistic.fill_(name.endswith("var"))


def _differ(channels: Tensor) -> Tensor:
    """Whether the values (channels, n) of each channel differ; those with NaN do."""
    return ~(channels.amax(1) - channels.amin(1) <= _SMALLEST * channels.abs().amax(1))


def _copy(tensor: Tensor) -> Tensor:
    made = tensor.detach().clone()
    return made.to(torch.promote_types(made.dtype, torch.float32)) if made.is_floating_point() else made
