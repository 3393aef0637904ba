"""A small network with dropout, which a checkpoint can name."""

import torch
from torch import nn

SHAPE = (1, 8, 8)


def network() -> nn.Sequential:
    """4 + 6 + 8 nodes."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)),
    )


def built(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The network as `--model tests.helpers.dropout_network:built` builds it."""
    return network()


def four_channels(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The network for images of four channels."""
    model = network()
    model[0] = nn.Conv2d(4, 4, 3, padding=1)
    return model
