"""Counts the costs of a network without some nodes, without removing them."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from prunectl.structure.nodes import Structure


@dataclass(frozen=True)
class Costs:
    """`parameters`, `flops` per image (2 x multiply-accumulates), and `bytes` of all tensors in float32."""

    parameters: int
    flops: int
    bytes: int


def costs_without(structure: Structure, model: nn.Module, removed: Tensor) -> Costs:
    """The costs of the network without the `removed` nodes (bool, (nodes,))."""
    gone = structure.gone(removed)
    lengths: dict[str, dict[int, int]] = {}
    for (name, axis), classes in structure.axes.items():
        lengths.setdefault(name, {})[axis] = int((~gone[classes]).sum())

    def entries(name: str, tensor: Tensor) -> int:
        cut = lengths.get(name, {})
        return prod(cut.get(axis, size) for axis, size in enumerate(tensor.shape))

    stored = (float32_bytes(tensor, entries(name, tensor)) for name, tensor in model.state_dict().items())
    return Costs(
        parameters=sum(entries(name, parameter) for name, parameter in model.named_parameters()),
        flops=structure.flops(removed),
        bytes=sum(stored),
    )


def float32_bytes(tensor: Tensor, entries: int) -> int:
    """The bytes of this number of entries of a tensor, with floating-point numbers as float32."""
    return entries * (torch.float32.itemsize if tensor.is_floating_point() else tensor.element_size())
