"""The squared change of the loss without a node, to first order."""

import torch
from torch import Tensor, nn

from prunectl.criteria.base.criterion import Batches
from prunectl.criteria.base.sensitivity import LossSampling, gradients
from prunectl.structure.gates import at_gates, gated
from prunectl.structure.nodes import Structure


def mean_squared_effect(model: nn.Module, data: Batches, structure: Structure, draw: LossSampling) -> Tensor:
    """The mean of (dL/dc · c)² over batches, for a gate c = 1 on every node: float32 (nodes,), on the cpu."""
    names, total, taken = gated(structure, model), torch.zeros(structure.nodes), 0
    parameters = dict(model.named_parameters())
    for _, found in gradients(model, data, names, draw):
        values = {name: gradient * parameters[name].detach() for name, gradient in found.items()}
        total += at_gates(structure, model, values).square()
        taken += 1
    return total / max(taken, 1)
