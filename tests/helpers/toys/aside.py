"""Nodes on no tensor that depends on the image: between layers that make weights, biases or queries."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.helpers.toys.parts import CLASSES, SHAPE, Toys, conv


class LowRank(nn.Module):
    """A linear layer plus a product of two thin matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.layer, self.fc = conv(3, 8), nn.Linear(8, 8), nn.Linear(8, CLASSES)
        self.down, self.up = nn.Parameter(torch.randn(4, 8)), nn.Parameter(torch.randn(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(self.stem(x).mean((2, 3)), self.layer.weight + self.up @ self.down, self.layer.bias)
        return self.fc(x.relu())


class Positions(nn.Module):
    """Tokens get what a small network makes of their coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.layer, self.fc = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 8), nn.Linear(8, CLASSES)
        self.mlp = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 8))
        self.register_buffer("places", torch.rand(16, 2, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.fc(self.layer(tokens + self.mlp(self.places)).relu().mean(1))


class Hyper(nn.Module):
    """A gate for every channel, made from a learned code."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fc, self.code = conv(3, 8), nn.Linear(8, CLASSES), nn.Parameter(torch.randn(5))
        self.mlp = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 8), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stem(x).mean((2, 3)) * self.mlp(self.code))


class Queries(nn.Module):
    """Learned queries attend to each other, then to the image."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.fc = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, CLASSES)
        self.queries = nn.Parameter(torch.randn(1, 2, 8))
        self.decoder = nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.fc(self.decoder(self.queries.expand(x.shape[0], -1, -1), tokens).mean(1))


TOYS: Toys = {
    "low-rank": (LowRank, SHAPE),
    "position-mlp": (Positions, SHAPE),
    "hypernetwork": (Hyper, SHAPE),
    "decoder-queries": (Queries, SHAPE),
}
