"""What the toys share."""

from collections.abc import Callable

from torch import Tensor, nn

SHAPE = (3, 8, 8)
CLASSES = 3
Toys = dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]]


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Head(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(x).flatten(1))


class Toy(nn.Module):
    """A stem of `width` channels, then `body`, which leaves `out` channels, then a head."""

    def __init__(self, body: nn.Module, width: int = 8, out: int | None = None) -> None:
        super().__init__()
        self.stem = conv(SHAPE[0], width)
        self.body = body
        self.head = Head(out or width)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)))


class Patches(nn.Module):
    """Tokens (B, 16, width) of 2x2 patches, then `body`, then the mean over tokens and a head."""

    def __init__(self, body: nn.Module, width: int = 8, out: int | None = None) -> None:
        super().__init__()
        self.proj = nn.Conv2d(SHAPE[0], width, 2, stride=2)
        self.body = body
        self.head = nn.Linear(out or width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x).flatten(2).transpose(1, 2)  # (B, 16, width)
        return self.head(self.body(x).mean(1))
