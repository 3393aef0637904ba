"""Uses the scales of BatchNorm as gates of nodes."""

import torch
from torch import Tensor, nn

from prunectl.structure.nodes import FROZEN, Structure


def batch_norm_scales(model: nn.Module) -> dict[str, nn.Parameter]:
    """The scale γ (C,) of every BatchNorm that has one, by its parameter's name."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.weight is not None:
            found[f"{name}.weight" if name else "weight"] = module.weight
    return found


def at_scales(structure: Structure, values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Sum values of BatchNorm scales, (C,) by name, for every node, and count the scales of each.

    Both are on the cpu: float32 (nodes,) and int64 (nodes,).
    """
    total = torch.zeros(structure.nodes + 1)
    count = torch.zeros(structure.nodes + 1, dtype=torch.int64)  # the last entries stand for FROZEN
    for name, value in values.items():
        if (name, 0) in structure.axes:
            classes = structure.axes[name, 0] % len(total)
            total.index_add_(0, classes, value.detach().float().cpu())
            count.index_add_(0, classes, torch.ones_like(classes))
    return total[:FROZEN], count[:FROZEN]
