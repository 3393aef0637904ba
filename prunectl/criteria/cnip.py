"""CNIP: weights and nodes in one ranking, once or in small steps (Verdenius et al. 2020)."""

from dataclasses import replace

from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.sensitivity import LossSampling, sensitivity
from prunectl.masks import prunable
from prunectl.scores import Scores
from prunectl.structure.gates import at_gates, gated
from prunectl.structure.nodes import Structure

SOURCE = "Verdenius et al. 2020, arXiv:2006.00896"


def elasticities(
    model: nn.Module,
    data: Batches,
    structure: Structure,
    *,
    batches: int = 5,
    bn: str = "running",
    loss: str = "cross-entropy",
    chunk: int = 0,
) -> Scores:
    """|dL/dθ · θ / L| of every prunable weight and |dL/dc · c / L| of every node's gate, from one pass.

    All share the same batches and the same loss L, so they are comparable. The authors' code scores weights and nodes
    in two passes over different batches, whose losses differ, and its iterations never reach their target. Here the
    weight sparsity, which includes the weights of removed nodes, is exactly the requested one (`structure.joint`).
    """
    weights = prunable(model)
    values = sensitivity(model, data, {*weights, *gated(structure, model)}, LossSampling(batches, bn, loss, chunk))
    return Scores({name: values[name].abs() for name in weights}, at_gates(structure, model, values).abs())


cnip = Criterion(elasticities, schedule="one-shot", scope="global", source=SOURCE, unit="both")
cnipit = Criterion(elasticities, schedule="snipit", scope="global", source=SOURCE, unit="both")
cnipit_during = replace(cnipit, when="during")
