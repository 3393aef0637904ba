"""A chain and a residual network with few nodes, whose structure is known."""

import torch
from torch import nn

SHAPE = (1, 8, 8)


def chain(padding: int = 1, bias: bool = True) -> nn.Sequential:
    """4 + 5 + 6 nodes; 4 features for each of the 5 channels that are flattened."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=padding, bias=bias),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.05),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, padding=padding),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(20, 6),
        nn.BatchNorm1d(6),
        nn.LeakyReLU(0.05),
        nn.Dropout(0.3),
        nn.Linear(6, 3),
    )


class Residual(nn.Module):
    """4 nodes, which an addition couples."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = x + self.inner(x)
        return self.head(torch.flatten(self.pool(x), 1))
