"""Networks that no file can hold, because the constructor builds a different one at every call."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.helpers.odd_networks.small import Shape, Small


def random_tensor(net: Any) -> None:
    net.scale = torch.rand(8)


def random_unstored_buffer(net: Any) -> None:
    del net.scale
    net.register_buffer("scale", torch.rand(8), persistent=False)


def random_number(net: Any) -> None:
    net.scale = random.random()


def random_numpy_number(net: Any) -> None:
    net.scale = float(np.random.rand())


def random_numpy_array(net: Any) -> None:
    net.table = np.random.rand(8)


def random_torch_number(net: Any) -> None:
    net.scale = torch.rand(()).item()


def from_weights(net: Any) -> None:
    net.scale = net.conv.weight.std().item()


def copy_of_weights(net: Any) -> None:
    net.scale = net.head.weight.detach().clone().sum()


def view_of_weights(net: Any) -> None:
    net.shift = net.conv.weight.detach()[:, 0, 0, 0]


class Permuted(Small):
    """A random order of the channels in a list."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.order = torch.randperm(8).tolist()

    def features(self, x: Tensor) -> Tensor:
        return super().features(x)[:, self.order]


class RandomList(Small):
    """Random tensors in a list."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.gains = [torch.rand(8), torch.rand(8)]

    def features(self, x: Tensor) -> Tensor:
        return super().features(x) * self.gains[0] + self.gains[1]


class HiddenParameter(Small):
    """A parameter in a list, which no state dict has."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.hidden = [nn.Parameter(torch.rand(8))]

    def features(self, x: Tensor) -> Tensor:
        return super().features(x) * self.hidden[0]


class RandomClosure(Small):
    """A random number in a lambda."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        factor = random.random()
        self.act = lambda x: functional.leaky_relu(x, factor)

    def features(self, x: Tensor) -> Tensor:
        return self.act(super().features(x) - 0.5)


def random_activation(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    net.norm = nn.Sequential(net.norm, random.choice([nn.GELU, nn.Tanh])())  # type: ignore[assignment]
    return net


def random_width(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    width = random.randint(1, 50)
    net.head = nn.Sequential(nn.Linear(8, width), nn.Linear(width, classes))  # type: ignore[assignment]
    return net


def random_depth(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    net.head = nn.Sequential(*[nn.Linear(8, 8) for _ in range(random.randint(1, 8))], net.head)  # type: ignore[assignment]
    return net


_ONLY: list[nn.Module] = []


def singleton(shape: Shape, classes: int) -> nn.Module:
    if not _ONLY:
        _ONLY.append(Small(shape, classes))
    return _ONLY[0]


_HEADS: list[nn.Module] = []


def shared_layer(shape: Shape, classes: int) -> nn.Module:
    net = Small(shape, classes)
    if not _HEADS:
        _HEADS.append(net.head)
    net.head = _HEADS[0]  # type: ignore[assignment]
    return net


class ExtraState(Small):
    """A dictionary in the state dict."""

    def get_extra_state(self) -> dict[str, int]:
        return {"epoch": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        del state


class SparseBuffer(Small):
    """A sparse tensor in the state dict."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.register_buffer("edges", torch.eye(8).to_sparse())


CALLS: list[int] = []


def once_only(shape: Shape, classes: int) -> nn.Module:
    """A constructor that works once in a process."""
    CALLS.append(1)
    if len(CALLS) > 1:
        raise FileExistsError("lock.txt")
    return Small(shape, classes)
