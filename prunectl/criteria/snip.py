"""SNIP: connection sensitivity, once (Lee et al. 2019) or in small steps (Verdenius et al. 2020)."""

from dataclasses import replace

from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.sensitivity import LossSampling, sensitivity
from prunectl.masks import prunable
from prunectl.scores import Scores


def elasticity(
    model: nn.Module,
    data: Batches,
    *,
    batches: int = 5,
    bn: str = "running",
    loss: str = "cross-entropy",
    chunk: int = 0,
) -> Scores:
    """|dL/dθ · θ / L| of every prunable weight θ.

    The options are those of `LossSampling`.

    Source: the elasticity of Verdenius, Stol & Forré 2020 (arXiv:2006.00896); without the division by L, one factor for
    all weights, it ranks as the connection sensitivity of SNIP (Lee, Ajanthan & Torr 2019, arXiv:1810.02340, eq. 5).
    """
    values = sensitivity(model, data, prunable(model), LossSampling(batches, bn, loss, chunk))
    return Scores({name: value.abs_() for name, value in values.items()})


snip = Criterion(elasticity, schedule="one-shot", scope="global", source="Lee et al. 2019, arXiv:1810.02340, eq. 5")
snipit = Criterion(elasticity, schedule="snipit", scope="global", source="Verdenius et al. 2020, arXiv:2006.00896")
snipit_during = replace(snipit, when="during")
