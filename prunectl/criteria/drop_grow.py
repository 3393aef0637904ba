"""RigL and SET: a network that is sparse from the start drops its smallest weights and grows others."""

import math

import torch
from torch import Tensor, nn

from prunectl.criteria.base.criterion import Batches, Criterion, Round
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
    """RigL: in every layer a share of the weights goes, the smallest, and as many come with the largest |dL/dθ|.

    The share is fraction / 2 (1 + cos π p), p = the progress from the first step to 3/4 of the training, before which
    rounds end. What has just gone may come back.
    1 = stays or comes, 0 = goes or stays away. Source: Evci et al. 2020 (arXiv:1911.11134), section 3.
    """
    names = list(prunable(model))
    sums = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in prunable(model).items()}
    for _, found in gradients(model, data, names, LossSampling(batches, bn, loss)):
        for name in names:
            sums[name] += found[name].abs()
    share = _checked(fraction) / 2 * (1 + math.cos(math.pi * now.progress))
    scores = {}
    for name, weight in prunable(model).items():
        mask = now.masks.of(name, weight)
        scores[name] = _regrown(_survivors(weight, mask, share), mask, sums[name])
    return Scores(scores)


def at_random(model: nn.Module, data: Batches, now: Round, *, fraction: float = 0.3) -> Scores:
    """SET: of each sign the share `fraction` of a layer's weights goes, the closest to 0, and as many come at random.

    It does so after all epochs but the last. 1 = stays or comes, 0 = goes or stays away.
    Source: Mocanu et al. 2018 (arXiv:1707.04780), algorithm 1, ζ = 0.3.
    """
    scores = {}
    for name, weight in prunable(model).items():
        mask = now.masks.of(name, weight)
        draws = torch.rand(weight.shape).to(weight.device)
        signs = [_survivors(weight, mask & side, _checked(fraction)) for side in (weight >= 0, weight < 0)]
        scores[name] = _regrown(signs[0] | signs[1], mask, draws)
    return Scores(scores)


def _survivors(weight: Tensor, mask: Tensor, share: float) -> Tensor:
    """The kept weights without the `share` that is closest to zero: bool, of the weight's shape."""
    kept = int(mask.sum())
    return _best(weight.detach().abs().masked_fill(~mask, -1), kept - int(share * kept))


def _checked(fraction: float) -> float:
    if not 0 <= fraction <= 1:
        raise OptionError(f"the fraction of weights that move lies between 0 and 1, got {fraction}")
    return fraction


def _regrown(survivors: Tensor, mask: Tensor, growth: Tensor) -> Tensor:
    """1 for survivors and, up to the number in the mask, for those others whose growth is highest; else 0."""
    come = int(mask.sum()) - int(survivors.sum())
    return (survivors | _best(growth.masked_fill(survivors, -1), come)).float()


def _best(values: Tensor, count: int) -> Tensor:
    """True at the `count` highest entries: bool, of the same shape."""
    return highest(values.flatten(), count).view_as(values)


rigl = Criterion(
    by_gradient,
    schedule="constant",
    scope="global",
    source="Evci et al. 2020, arXiv:1911.11134, section 3",
    when="during",
    needs_training=True,
    regrow_value="zero",
    init_criterion="erk",
    stop_after=0.75,
)
set_ = Criterion(
    at_random,
    schedule="constant",
    scope="global",
    source="Mocanu et al. 2018, arXiv:1707.04780, algorithm 1",
    when="during",
    needs_data=False,
    needs_training=True,
    regrow_value="random",
    init_criterion="erk",
)
