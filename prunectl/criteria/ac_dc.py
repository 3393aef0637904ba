"""AC/DC: training alternates between a network of the largest weights and the dense one (Peste et al. 2021)."""

from torch import nn

from prunectl.criteria.base.absolute import absolute
from prunectl.criteria.base.criterion import Batches, Criterion, Round
from prunectl.scores import Scores


def largest(model: nn.Module, data: Batches, now: Round) -> Scores:
    """|θ| of every prunable weight, 0 for pruned ones. Source: Peste et al. 2021 (arXiv:2106.12379), T_k."""
    return absolute(model, data)


ac_dc = Criterion(
    largest,
    schedule="alternating",
    scope="global",
    source="Peste et al. 2021, arXiv:2106.12379, algorithm 1",
    when="during",
    needs_data=False,
    needs_training=True,
    steps=9,
    regrow_value="zero",
)
