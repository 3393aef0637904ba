"""Taylor: the squared effect of a node on the loss (Molchanov et al. 2019)."""

from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.sensitivity import LossSampling
from prunectl.criteria.base.squared_effects import mean_squared_effect
from prunectl.scores import Scores
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
    """The mean of (dL/dc · c)² over batches, for a gate c = 1 on every node.

    The options are those of `LossSampling`.
    Source: Molchanov et al. 2019 (arXiv:1906.10771), section 3, with gates: the first-order change of the loss without
    the node is squared in every batch.
    """
    return Scores(nodes=mean_squared_effect(model, data, structure, LossSampling(batches, bn, loss, chunk)))


taylor = Criterion(
    squared_effect,
    schedule="one-shot",
    scope="global",
    source="Molchanov et al. 2019, arXiv:1906.10771, section 3",
    unit="nodes",
    normalize_budget="max",
    when="after",
)
