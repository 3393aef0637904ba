"""Tensors in odd places, parametrisations, and other ways to a weight."""

import functools
import types
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

from tests.helpers.odd_networks.small import Shape, Small


def tensor_attribute(net: Any) -> None:
    net.scale = torch.linspace(0.5, 1.5, 8)


def unstored_buffer(net: Any) -> None:
    net.register_buffer("gains", torch.linspace(0.5, 1.5, 8), persistent=False)
    del net.scale
    net.register_buffer("scale", net.gains * 2, persistent=False)


class InContainers(Small):
    """Constants in a list, a dict, a named space, a partial and a closure."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.listed = [torch.full((8,), 0.5)]
        self.table = {"shift": (torch.linspace(0, 1, 8),)}
        self.space = types.SimpleNamespace(gain=torch.linspace(1, 2, 8))
        self.partly = functools.partial(torch.add, other=torch.linspace(0, 3, 8))
        inner = torch.linspace(1, 3, 8)
        self.closed = lambda x: x * inner

    def features(self, x: Tensor) -> Tensor:
        x = super().features(x) * self.listed[0] + self.table["shift"][0]
        return self.closed(self.partly(x * self.space.gain))


class Hooked(Small):
    """A forward hook that adds a constant tensor."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        constant = torch.linspace(0, 1, 8)
        self.more.register_forward_hook(lambda module, inputs, output: output + constant.view(-1, 1, 1))


@dataclass(eq=False)
class Settings:
    width: int = 8
    gain: Tensor = field(default_factory=lambda: torch.linspace(1, 2, 8))


def settings_object(net: Any) -> None:
    settings = Settings()
    net.settings = settings
    net.more.register_forward_hook(lambda module, inputs, output: output * settings.gain.view(-1, 1, 1))


class Alias(Small):
    """A list that holds a parameter of the network."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.same = [self.more.weight]

    def features(self, x: Tensor) -> Tensor:
        return super().features(x) * self.same[0].sum()


def numpy_attribute(net: Any) -> None:
    table = np.linspace(0.5, 1.5, 8, dtype=np.float32)
    net.table = table
    net.more.register_forward_hook(lambda module, inputs, output: output * float(table[3]))


def spectral(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    parametrizations.spectral_norm(net.head)
    return net


def weight_normed(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    parametrizations.weight_norm(net.more)
    return net


def orthogonal(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    parametrizations.orthogonal(net.head)
    return net


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).mT


def symmetric(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    last = nn.Linear(classes, classes)
    parametrize.register_parametrization(last, "weight", Symmetric())
    return nn.Sequential(net, last)


def tied(shape: Shape, classes: int) -> nn.Module:
    class Tied(Small):
        def __init__(self) -> None:
            super().__init__(shape, classes)
            self.twin = nn.Conv2d(8, 8, 3, stride=2)
            self.twin.weight = self.more.weight

        def features(self, x: Tensor) -> Tensor:
            x = functional.relu(self.norm(self.conv(x)))
            return (functional.relu(self.more(x)) - self.twin(x)).mean((2, 3))

    return Tied()


def lazy(shape: Shape, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.LazyConv2d(8, 3),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.LazyLinear(classes),
    )


def loads_weights(shape: Shape, classes: int) -> nn.Module:
    """Fills itself with weights of its own, as a builder with a file beside it does."""
    net = Small(shape, classes)
    values = {name: torch.full(tensor.shape, 0.5, device="cpu") for name, tensor in net.state_dict().items()}
    net.load_state_dict(values)
    return net


def assigns_weights(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    values = {name: torch.full(tensor.shape, 0.5, device="cpu") for name, tensor in net.state_dict().items()}
    values["norm.num_batches_tracked"] = torch.tensor(3, device="cpu")
    net.load_state_dict(values, assign=True)
    return net


def data_initialised(shape: Shape, classes: int) -> nn.Module:
    """Scales its first layer by its output for noise."""
    net = Small(shape, classes)
    with torch.no_grad():
        net.conv.weight /= net.conv(torch.randn(4, *shape)).std().item()
    return net


def channels_last(shape: Shape, classes: int) -> nn.Module:
    return Small(shape, classes).to(memory_format=torch.channels_last)
