"""Networks that are odd in what they do when they are built, run or trained."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.helpers.odd_networks.small import Build, Shape, Small


def sized_by_forward(shape: Shape, classes: int) -> nn.Module:
    body = nn.Sequential(nn.Conv2d(shape[0], 6, 3, stride=2), nn.ReLU(), nn.Flatten())
    with torch.no_grad():
        width = body(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(body, nn.Linear(width, classes))


class Counting(Small):
    """Counts its calls, and keeps what it computed last."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.calls, self.last = 0, None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = self.features(x).detach()
        return super().forward(x)


class CachedPositions(Small):
    """Makes a table of positions at the first forward."""

    table: Tensor | None = None

    def features(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.linspace(0, 1, 8)
        return super().features(x) + self.table


class EmptyParameter(Small):
    """A parameter set to None, one without entries, and one that nothing uses."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.register_parameter("absent", None)
        self.empty, self.unused = nn.Parameter(torch.zeros(0, 3)), nn.Parameter(torch.ones(2))


class FourierFilter(Small):
    """A complex parameter in the frequency domain."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.filter = nn.Parameter(torch.randn(1, 1, 28, 15, dtype=torch.complex64))

    def features(self, x: Tensor) -> Tensor:
        return super().features(torch.fft.irfft2(torch.fft.rfft2(x) * self.filter))


class Nested(Small):
    """Layers in a ParameterDict, a ParameterList, a ModuleDict, and a list of lists."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.gains = nn.ParameterDict({"a": torch.rand(8), "b": torch.rand(8)})
        self.shifts = nn.ParameterList([torch.rand(8)])
        self.blocks = nn.ModuleDict({"x": nn.ModuleList([nn.Linear(8, 8)])})

    def features(self, x: Tensor) -> Tensor:
        return self.blocks["x"][0](super().features(x) * self.gains["a"] + self.gains["b"] + self.shifts[0])  # type: ignore[index]


class RandomBuffers(Small):
    """Integer and boolean buffers."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.register_buffer("order", torch.randperm(8))
        self.register_buffer("on", torch.rand(8) < 0.8)

    def features(self, x: Tensor) -> Tensor:
        return super().features(x)[:, self.order] * self.on


def frozen(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    net.conv.requires_grad_(False)
    return net


class RandomForward(Small):
    """Noise in the forward pass, in evaluation as well."""

    def features(self, x: Tensor) -> Tensor:
        return super().features(x) + 0.1 * torch.randn(8)


def python_init(shape: Shape, classes: int) -> nn.Module:
    """Weights drawn by numpy and Python, which the file holds."""
    net = Small(shape, classes)
    net.head.weight.data = torch.tensor(np.random.randn(classes, 8), dtype=torch.float32)
    net.head.bias.data = torch.tensor([random.random() for _ in range(classes)])
    return net


def stamped(net: Any) -> None:
    """A name that differs every time, which computes nothing."""
    net.run = f"run-{random.random()}"


def of_type(dtype: torch.dtype) -> Build:
    return lambda shape, classes: Small(shape, classes).to(dtype)


class Auxiliary(Small):
    """A second output in training."""

    def forward(self, x: Tensor) -> Any:
        logits = super().forward(x)
        return (logits, logits) if self.training else logits


class InPlace(Small):
    """Overwrites what the backward pass of the sigmoid needs."""

    def features(self, x: Tensor) -> Tensor:
        return super().features(torch.sigmoid(self.conv.weight.sum() + x).mul_(2))


class WithoutGradients(Small):
    """Classifies without a backward pass."""

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def all_frozen(shape: Shape, classes: int) -> nn.Module:
    return Small(shape, classes).requires_grad_(False)
