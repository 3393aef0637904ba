"""SNAP: node sensitivity, once or in small steps (Verdenius et al. 2020)."""

from dataclasses import replace

from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.sensitivity import LossSampling, sensitivity
from prunectl.scores import Scores
from prunectl.structure.gates import at_gates, gated
from prunectl.structure.nodes import Structure

SOURCE = "Verdenius et al. 2020, arXiv:2006.00896"


def elasticity(
    model: nn.Module,
    data: Batches,
    structure: Structure,
    *,
    batches: int = 5,
    bn: str = "running",
    loss: str = "cross-entropy",
    chunk: int = 0,
) -> Scores:
    """|dL/dc · c / L| of a gate c = 1 on every node, at the inputs of the weights that read it.

    The options are those of `LossSampling`.

    The authors' code puts the gate before the BatchNorm, which is equivalent before training (a fresh BatchNorm in eval
    mode and a LeakyReLU pass the factor on), and uses the loss of raw logits (`loss=nll-logits`).
    """
    values = sensitivity(model, data, gated(structure, model), LossSampling(batches, bn, loss, chunk))
    return Scores(nodes=at_gates(structure, model, values).abs())


snap = Criterion(elasticity, schedule="one-shot", scope="global", source=SOURCE, unit="nodes", normalize_budget="max")
snapit = Criterion(elasticity, schedule="snipit", scope="global", source=SOURCE, unit="nodes", normalize_budget="max")
snapit_during = replace(snapit, when="during")
