"""A small network, and a training that prunes it."""

import torch
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.training.recipe import Recipe
from tests.helpers.networks import fresh_checkpoint

SHAPE = (1, 8, 8)


def network() -> nn.Sequential:
    """4 + 6 + 8 nodes; 36 + 216 + 192 + 24 weights."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 3)),
    )


def start() -> Checkpoint:
    return fresh_checkpoint(network, SHAPE)


def recipe(criterion: str, sparsity: float | None = 0.5, epochs: int = 4, **changes) -> Recipe:
    timing = {key: changes.pop(key) for key in list(changes) if key in GradualPruning.__dataclass_fields__}
    during = GradualPruning(criterion, sparsity, **{"prune_delay": 0, "prune_every": 1, **timing})
    return Recipe(epochs=epochs, batch_size=16, prune=during, **changes)
