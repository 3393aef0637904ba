"""Estimates how far BatchNorm's running statistics lag behind a training."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def lag(model: nn.Module, steps: int) -> float:
    """The share of the running statistics from before the training, after this many steps; 0 without BatchNorm.

    Each step keeps 1 - momentum of a running statistic, so (1 - momentum)^steps of the first is left. With statistics
    of other weights, a network classifies worse in evaluation than in training.
    """
    norms = (m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats)
    return max(((1 - norm.momentum) ** steps for norm in norms if norm.momentum is not None), default=0.0)
