"""How far BatchNorm's running statistics lag behind a training."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def lag(model: nn.Module, steps: int) -> float:
    """The share of the running statistics that is from before the training, after so many steps; 0 without BatchNorm.

    Each step keeps 1 - momentum of a running statistic: (1 - momentum)^steps is left of the first. A network that
    evaluates with statistics of other weights classifies worse than it trains.
    """
    norms = (m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats)
    return max(((1 - norm.momentum) ** steps for norm in norms if norm.momentum is not None), default=0.0)
