"""FORCE: foresight connection sensitivity, in rounds where weights may return (de Jorge et al. 2021)."""

import torch
from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion, Round
from prunectl.criteria.base.sensitivity import LossSampling, gradients
from prunectl.masks import prunable
from prunectl.scores import Scores


def foresight(
    model: nn.Module,
    data: Batches,
    now: Round,
    *,
    batches: int = 5,
    bn: str = "running",
    loss: str = "cross-entropy",
    chunk: int = 0,
) -> Scores:
    """|dL/dθ · θ₀| of every prunable weight: the gradient in the pruned network times the weight θ₀ before pruning.

    Source: de Jorge et al. 2021 (arXiv:2006.09081), algorithm 1.

    The options are those of `LossSampling`.
    """
    names = list(prunable(model))
    sums = {name: torch.zeros_like(now.original[name], dtype=torch.float32) for name in names}
    for _, found in gradients(model, data, names, LossSampling(batches, bn, loss, chunk)):
        for name in names:
            sums[name] += found[name]
    return Scores({name: (total * now.original[name]).abs() for name, total in sums.items()})


force = Criterion(
    foresight,
    schedule="exponential",
    scope="global",
    source="de Jorge et al. 2021, arXiv:2006.09081, algorithm 1",
    steps=60,
    regrow_value="original",
)
