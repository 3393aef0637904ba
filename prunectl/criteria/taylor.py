"""Taylor: the squared effect of a node on the loss (Molchanov et al. 2019)."""

import torch
from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.sensitivity import LossSampling, gradients
from prunectl.scores import Scores
from prunectl.structure.gates import at_gates, gated
from prunectl.structure.nodes import Structure


def squared_effect(
    model: nn.Module,
    data: Batches,
    structure: Structure,
    *,
    batches: int = 5,
    bn: str = "running",
    loss: str = "cross-entropy",
    chunk: int = 0,
) -> Scores:
    """(dL/dc · c)² of a gate c = 1 on every node, the mean over batches; the options are those of `LossSampling`.

    Source: Molchanov et al. 2019 (arXiv:1906.10771), section 3, with gates: the change of the loss without the node, to
    first order, is squared in every batch.
    """
    names, total, taken = gated(structure, model), torch.zeros(structure.nodes), 0
    parameters = dict(model.named_parameters())
    for _, found in gradients(model, data, names, LossSampling(batches, bn, loss, chunk)):
        values = {name: gradient * parameters[name].detach() for name, gradient in found.items()}
        total += at_gates(structure, model, values).square()
        taken += 1
    return Scores(nodes=total / max(taken, 1))


taylor = Criterion(
    squared_effect,
    schedule="one-shot",
    scope="global",
    source="Molchanov et al. 2019, arXiv:1906.10771, section 3",
    unit="nodes",
    normalize_budget="max",
    when="after",
)
