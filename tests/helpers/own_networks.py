"""Networks as a user writes them, and loaders for them."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

SHAPE = (3, 16, 16)
CLASSES = 5


class Residual(nn.Module):
    """A residual block with BatchNorm, and a bare parameter that scales its branch."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.branch, self.branch_norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.scale = nn.Parameter(torch.full((width, 1, 1), 0.7))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.stem(x)))
        x = functional.relu(x + self.branch_norm(self.branch(x)) * self.scale)
        return self.head(x.mean((2, 3)))


class TwoInputs(Residual):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x + y)


def build(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """What `--model tests.helpers.own_networks:build` names."""
    return Residual()


def hidden(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A hidden layer of 8, for images of 64 pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))


def loader(count: int = 60, shape: tuple[int, int, int] = SHAPE, classes: int = CLASSES, size: int = 20) -> DataLoader:
    """Noise in which the class moves the mean; the same images in the same order at every pass."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    images = torch.randn(count, *shape, generator=generator) + labels.view(-1, 1, 1, 1) / classes
    return DataLoader(TensorDataset(images, labels), batch_size=size)
