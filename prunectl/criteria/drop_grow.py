"""RigL and SET: a network that is sparse from the start drops its smallest weights and grows others."""

from functools import partial

import torch
from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion, Exploration, Round
from prunectl.criteria.base.growth import by_gradient, checked, regrown, survivors
from prunectl.masks import prunable
from prunectl.scores import Scores


def at_random(model: nn.Module, data: Batches, now: Round, *, fraction: float = 0.3) -> Scores:
    """In every layer, drop the share `fraction` of each sign that is closest to 0, and grow as many at random.

    It does so after every epoch except the last. A weight that was just dropped may grow again, as a new one. The score
    is 1 if it is kept or grows, else 0.
    Source: Mocanu et al. 2018 (arXiv:1707.04780), algorithm 1, ζ = 0.3.
    """
    kept, draws = {}, {}
    for name, weight in prunable(model).items():
        mask = now.masks.of(name, weight)
        draws[name] = torch.rand(weight.shape).to(weight.device)
        signs = [survivors(weight, mask & side, checked(fraction)) for side in (weight >= 0, weight < 0)]
        kept[name] = signs[0] | signs[1]
    return regrown(kept, draws, now)


rigl = Criterion(
    by_gradient,
    schedule="constant",
    scope="global",
    source="Evci et al. 2020, arXiv:1911.11134, section 3",
    when="during",
    needs_training=True,
    delay=0,
    every="100s",
    regrow_value="zero",
    exploration=partial(Exploration, until=0.75),
)
set_ = Criterion(
    at_random,
    schedule="constant",
    scope="global",
    source="Mocanu et al. 2018, arXiv:1707.04780, algorithm 1",
    when="during",
    needs_data=False,
    needs_training=True,
    delay=0,
    every=1,
    regrow_value="random",
    exploration=Exploration,
)
