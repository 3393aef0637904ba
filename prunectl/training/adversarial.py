"""Adversarial training: every step uses images perturbed within a max-norm ball to be misclassified."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunectl.torchtools.contexts import evaluating

_STEP = 2.0
"""The step size in units of eps / steps; the papers use 1.3 to 2.3."""
_START = 1e-3
Forward = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) to logits (B, classes)."""


def adversarial(
    classify: Forward, model: nn.Module, pixels: Tensor, labels: Tensor, *, eps: float, steps: int, loss: str
) -> Tensor:
    """The adversarial images of a batch, pixels in [0, 255]; made in eval mode, so running statistics do not change."""

    def forward(images: Tensor) -> Tensor:
        return classify(255 * images)

    images = pixels.float() / 255
    with evaluating(model):
        if loss == "trades":
            return 255 * farthest(forward, images, eps=eps, steps=steps)
        return 255 * worst_case(forward, images, labels, eps=eps, steps=steps)


def worst_case(forward: Forward, images: Tensor, labels: Tensor, *, eps: float, steps: int) -> Tensor:
    """Adversarial images that raise the cross-entropy, from a random start (Madry et al. 2018, arXiv:1706.06083)."""
    start = images + eps * (2 * torch.rand_like(images) - 1)
    return _ascended(lambda x: nn.functional.cross_entropy(forward(x), labels), start, images, eps, steps)


def farthest(forward: Forward, images: Tensor, *, eps: float, steps: int) -> Tensor:
    """Adversarial images whose predictions diverge from the clean ones' (Zhang et al. 2019, arXiv:1901.08573)."""
    with torch.no_grad():
        clean = forward(images)
    start = images + _START * torch.randn_like(images)
    return _ascended(lambda x: divergence(clean, forward(x)), start, images, eps, steps)


def divergence(clean: Tensor, other: Tensor) -> Tensor:
    """Mean KL divergence of the predictions on other images from those on the clean ones, from logits (B, classes)."""
    return nn.functional.kl_div(other.log_softmax(1), clean.log_softmax(1), reduction="batchmean", log_target=True)


def passes(loss: str | None, steps: int) -> int:
    """Cost of a step in forward passes; a backward pass to the weights counts as two, to the images only as one."""
    train = 3
    if loss is None:
        return train
    return train + 2 * steps if loss == "pgd" else 2 * train + 2 * steps + 1


def _ascended(loss: Callable[[Tensor], Tensor], start: Tensor, images: Tensor, eps: float, steps: int) -> Tensor:
    """Gradient-sign ascent within eps of the images and [0, 1]."""
    points = start.clamp(0, 1)
    for _ in range(steps):
        points = points.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(points), points)
        points = points.detach() + _STEP * eps / steps * gradient.sign()
        points = torch.minimum(torch.maximum(points, images - eps), images + eps).clamp(0, 1)
    return points.detach()
