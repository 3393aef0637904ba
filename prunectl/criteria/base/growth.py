"""Drop and grow: decides which weights of a layer survive, and which others replace the dropped ones."""

import math

import torch
from torch import Tensor, nn

from prunectl.criteria.base.criterion import Batches, Round
from prunectl.criteria.base.sensitivity import LossSampling, gradients
from prunectl.errors import OptionError
from prunectl.masks import prunable
from prunectl.scores import Scores, highest


def by_gradient(
    model: nn.Module,
    data: Batches,
    now: Round,
    *,
    fraction: float = 0.3,
    batches: int = 1,
    bn: str = "batch",
    loss: str = "cross-entropy",
) -> Scores:
    """In every layer, drop a share of the weights, those closest to 0, and grow as many with the largest |dL/dθ|.

    The share is fraction / 2 (1 + cos π p), where p is the progress from the first step to the end of the rounds. A
    weight that was just dropped may grow again, as a new one. The score is 1 if it is kept or grows, else 0.
    Source: RigL of Evci et al. 2020 (arXiv:1911.11134), section 3.
    """
    names = list(prunable(model))
    sums = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in prunable(model).items()}
    for _, found in gradients(model, data, names, LossSampling(batches, bn, loss)):
        for name in names:
            sums[name] += found[name].abs()
    share = checked(fraction) / 2 * (1 + math.cos(math.pi * now.progress))
    kept = {name: survivors(weight, now.masks.of(name, weight), share) for name, weight in prunable(model).items()}
    return regrown(kept, sums, now)


def survivors(weight: Tensor, mask: Tensor, share: float) -> Tensor:
    """The kept weights without the `share` closest to zero: bool, of the weight's shape."""
    kept = int(mask.count_nonzero())
    return _best(weight.detach().abs().masked_fill(~mask, -1), kept - int(share * kept))


def regrown(kept: dict[str, Tensor], growth: dict[str, Tensor], now: Round) -> Scores:
    """1 for kept weights and for those with the highest growth, up to the number in the current masks; else 0."""
    scores, anew = {}, {}
    for name, survives in kept.items():
        come = int(now.masks.of(name, survives).count_nonzero()) - int(survives.count_nonzero())
        anew[name] = _best(growth[name].masked_fill(survives, -1), come)
        scores[name] = (survives | anew[name]).float()
    return Scores(scores, anew=anew)


def checked(fraction: float) -> float:
    """The fraction, after a check.

    Raises:
        OptionError: it is not between 0 and 1.
    """
    if not 0 <= fraction <= 1:
        raise OptionError(f"fraction must be a share of the weights between 0 and 1, got {fraction}")
    return fraction


def _best(values: Tensor, count: int) -> Tensor:
    """True at the `count` highest entries: bool, of the same shape."""
    return highest(values.flatten(), count).view_as(values)
