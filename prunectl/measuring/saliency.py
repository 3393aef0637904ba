"""Saliency: the pixels to which a network's output is most sensitive."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunectl.data.images import Preprocessing
from prunectl.torchtools.contexts import evaluating
from prunectl.torchtools.copies import in_type_of


def saliency(
    model: nn.Module,
    pixels: Tensor,
    preprocessing: Preprocessing,
    objective: Callable[[Tensor], Tensor],
    *,
    top: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Maps (B, H, W) in [0, 1] of |d objective / d pixel|, and the logits (B, classes), in eval mode.

    `objective` sums one value per image, computed from the logits. A map has the largest gradient over the channels,
    divided by its own quantile `top`; larger values become 1.

    Source: Simonyan, Vedaldi & Zisserman 2013 (arXiv:1312.6034), section 3, with a class score as objective.
    """
    inputs = in_type_of(model, preprocessing(pixels)).detach().requires_grad_(True)
    with evaluating(model), torch.enable_grad():
        logits = model(inputs)
        (gradient,) = torch.autograd.grad(objective(logits), inputs)
    maps = gradient.abs().amax(1).float()
    scale = torch.quantile(maps.flatten(1), top, dim=1)[:, None, None]
    return (maps / scale.clamp_min(torch.finfo(maps.dtype).tiny)).nan_to_num(0).clamp(0, 1), logits.detach()
