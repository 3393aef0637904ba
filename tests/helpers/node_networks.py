"""Networks with few nodes, and gates on them."""

import torch
from torch import nn

SHAPE = (1, 8, 8)


class Gate(nn.Module):
    """Multiplies every channel by a factor, 1 at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor.view(-1, *[1] * (x.ndim - 2))


class Chain(nn.Module):
    """Convolutions with BatchNorm, a flatten to several features per channel, a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.act, self.pool, self.flat = nn.LeakyReLU(0.05), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        self.hidden, self.drop, self.head = nn.Linear(32, 10), nn.Dropout(0.5), nn.Linear(10, 3)
        self.gates = nn.ModuleList([nn.Identity() for _ in range(3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.gates[0](self.act(self.norm1(self.conv1(x))))
        x = self.gates[1](self.act(self.norm2(self.conv2(x))))
        x = self.gates[2](self.act(self.hidden(self.flat(self.pool(x)))))
        return self.head(self.drop(x))


class Residual(nn.Module):
    """A residual stream of 6 channels that two weights read, and 9 inner ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.inner, self.outer = nn.Conv2d(6, 9, 3, padding=1), nn.Conv2d(9, 6, 3, padding=1)
        self.act, self.pool, self.flat, self.head = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
        self.gates = nn.ModuleList([nn.Identity() for _ in range(3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.stem(x)))
        x = x + self.outer(self.gates[1](self.act(self.inner(self.gates[0](x)))))
        return self.head(self.gates[2](self.flat(self.pool(x))))


GATES = {  # which gates of which width are those of the nodes from this one on
    Chain: [(6, 0, (0,)), (8, 6, (1,)), (10, 14, (2,))],
    Residual: [(6, 0, (0, 2)), (9, 6, (1,))],
}
