"""The network that the odd ones differ from in one place."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, int, int]
Build = Callable[[Shape, int], nn.Module]


class Small(nn.Module):
    """Two convolutions and a linear layer; the networks here differ from it in one place."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(shape[0], 8, 3), nn.BatchNorm2d(8)
        self.more = nn.Conv2d(8, 8, 3, stride=2)
        self.head = nn.Linear(8, classes)

    def features(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.conv(x)))
        return functional.relu(self.more(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def looks(change: Callable[[Any], None]) -> Build:
    """A network whose constructor ends with `change`, and whose features are multiplied by `scale` and `shift`."""

    class Looks(Small):
        def __init__(self, shape: Shape, classes: int) -> None:
            super().__init__(shape, classes)
            self.scale, self.shift = 1.0, 0.0
            change(self)

        def features(self, x: Tensor) -> Tensor:
            return super().features(x) * self.scale + self.shift

    return Looks
