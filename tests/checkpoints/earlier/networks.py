"""Small networks of the fixture's own: one for each way in which a shrunk network runs."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Residual(nn.Module):
    """Convolutions with BatchNorm and a sum: a shrunk one runs on its own modules."""

    def __init__(self, channels: int, classes: int, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.first, self.norm1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.second, self.norm2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        y = self.norm2(self.second(functional.relu(self.norm1(self.first(x)))))
        return self.head(functional.relu(x + y).mean((2, 3)))


class Transformer(nn.Module):
    """An encoder layer of torch: a shrunk one runs with its attention and norms swapped."""

    def __init__(self, channels: int, classes: int, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, 4, stride=4)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.head((x + self.mlp(x)).mean(1))


class Fixed(nn.Module):
    """Its code names its widths, so a shrunk one runs a rewritten graph."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.hidden = nn.Linear(6 * 4 * 4, 10)
        self.head = nn.Linear(10, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.adaptive_avg_pool2d(functional.relu(self.norm(self.conv(x))), 4)
        return self.head(torch.relu(self.hidden(x.reshape(x.shape[0], 6 * 4 * 4))))


def residual(shape: tuple[int, int, int], classes: int, *, width: int = 8) -> nn.Module:
    return Residual(shape[0], classes, width)


def transformer(shape: tuple[int, int, int], classes: int) -> nn.Module:
    return Transformer(shape[0], classes)


def fixed(shape: tuple[int, int, int], classes: int) -> nn.Module:
    return Fixed(shape[0], classes)
