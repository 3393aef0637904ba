"""Writes a layer as a product of matrices: inputs as rows, the weight as a matrix, outputs as columns."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor, nn

LINEAR, CONVOLUTION, TRANSPOSED = "linear", "convolution", "transposed"
MOST_ENTRIES = 1 << 20
"""Most entries of the rows made at once: 8 MiB in float64."""


@dataclass(frozen=True)
class Unfolding:
    """A linear layer or a convolution (1d to 3d, strided, dilated, grouped, transposed) as one product per group.

    outputs (G, N, O) = rows (G, N, K) @ matrix (G, O, K)^T, where N counts images times positions, G the groups.
    """

    kind: str
    shape: tuple[int, ...]
    """The shape of the weight."""
    groups: int = 1
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] | str = ()
    dilation: tuple[int, ...] = ()
    output_padding: tuple[int, ...] = ()

    @staticmethod
    def of(kind: str, shape: tuple[int, ...], a: dict[str, Any]) -> "Unfolding":
        """Read the arguments of an operation, by the names of its schema."""
        if kind == LINEAR:
            return Unfolding(kind, shape)
        dims = len(shape) - 2
        padding = a.get("padding", 0)
        return Unfolding(
            kind,
            shape,
            int(a.get("groups", 1)),
            _each(a.get("stride", 1), dims),
            padding if isinstance(padding, str) else _each(padding, dims),
            _each(a.get("dilation", 1), dims),
            _each(a.get("output_padding", 0), dims),
        )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(G, O, K): groups, output channels and inputs of each."""
        if self.kind == TRANSPOSED:
            return self.groups, self.shape[1], self.shape[0] // self.groups * prod(self.shape[2:])
        return self.groups, self.shape[0] // self.groups, prod(self.shape[1:])

    def matrix(self, weight: Tensor) -> Tensor:
        """A weight, or its mask, as (G, O, K)."""
        if self.kind != TRANSPOSED:
            return weight.reshape(self.sizes)
        kernel = self.shape[2:]
        split = weight.flip(*range(2, weight.ndim)).reshape(self.groups, -1, self.shape[1], *kernel)
        return split.transpose(1, 2).reshape(self.sizes)

    def weight(self, matrix: Tensor) -> Tensor:
        """Undo `matrix`."""
        if self.kind != TRANSPOSED:
            return matrix.reshape(self.shape)
        kernel = self.shape[2:]
        split = matrix.reshape(self.groups, self.shape[1], -1, *kernel).transpose(1, 2)
        return split.reshape(self.shape).flip(*range(2, len(self.shape)))

    def vector(self, bias: Tensor) -> Tensor:
        """A bias, or its mask, as (G, O)."""
        return bias.reshape(self.sizes[:2])

    def pieces(self, x: Tensor, y: Tensor, share: float = 1.0, draw: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows (G, N, K) and outputs (G, N, O) in float64, of a few images at once.

        A random `share` of the positions in an image, or of a linear layer's rows, is used, the same in every image;
        `draw` is the seed.
        """
        if self.kind == LINEAR:
            x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
            chosen = _drawn(len(x), share, draw, x.device)
            if chosen is not None:
                x, y = x[chosen], y[chosen]
            places, each = None, x.shape[1]
        else:
            positions = prod(y.shape[2:])
            places = _drawn(positions, share, draw, x.device)
            each = self.groups * self.sizes[2] * (positions if places is None else len(places))
        count = max(1, MOST_ENTRIES // each)
        for some, wanted in zip(torch.split(x, count), torch.split(y, count), strict=True):
            yield self.rows(some, places).double(), self.outputs(wanted, places).double()

    def rows(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        """Inputs as (G, N, K), at these output positions, or at all."""
        if self.kind == LINEAR:
            return x.reshape(1, -1, x.shape[-1])
        if self.kind == TRANSPOSED:
            return self._patches(self._spread(x), (1,) * (x.ndim - 2), places)
        margins = [side for pair in reversed(self._margins()) for side in pair]
        return self._patches(nn.functional.pad(x, margins), self.stride, places)

    def outputs(self, y: Tensor, places: Tensor | None = None) -> Tensor:
        """Outputs as (G, N, O), at these positions, or at all."""
        if self.kind == LINEAR:
            return y.reshape(1, -1, y.shape[-1])
        flat = y.flatten(2) if places is None else y.flatten(2).index_select(2, places)
        return flat.transpose(1, 2).reshape(-1, self.groups, self.sizes[1]).transpose(0, 1)

    def _margins(self) -> list[tuple[int, int]]:
        """The padding before and after, on every axis."""
        if self.padding == "valid":
            return [(0, 0)] * len(self.dilation)
        if self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.shape[2:], strict=True)]
            return [(total // 2, total - total // 2) for total in totals]
        return [(int(side), int(side)) for side in self.padding]

    def _spread(self, x: Tensor) -> Tensor:
        """The input with zeros between and around its entries, on which a transposed convolution is a plain one."""
        for i, kernel in enumerate(self.shape[2:]):
            axis, stride = i + 2, self.stride[i]
            size = (x.shape[axis] - 1) * stride + 1
            wide = x.new_zeros(*x.shape[:axis], size, *x.shape[axis + 1 :])
            wide[(slice(None),) * axis + (slice(None, None, stride),)] = x
            before = self.dilation[i] * (kernel - 1) - int(self.padding[i])
            margins = [0, 0] * (x.ndim - 1 - axis) + [before, before + self.output_padding[i]]
            x = nn.functional.pad(wide, margins)
        return x

    def _patches(self, x: Tensor, stride: tuple[int, ...], places: Tensor | None) -> Tensor:
        """The input entries under the kernel at each position: (G, N, K)."""
        index = torch.zeros(1, 1, dtype=torch.int64, device=x.device)  # (kernel, positions) into the flat image
        for length, k, d, s in zip(x.shape[2:], self.shape[2:], self.dilation, stride, strict=True):
            offsets, starts = (
                torch.arange(k, device=x.device) * d,
                torch.arange(0, length - d * (k - 1), s, device=x.device),
            )
            axis = offsets[:, None] + starts
            index = (index[:, None, :, None] * length + axis[None, :, None, :]).reshape(len(index) * k, -1)
        if places is not None:
            index = index.index_select(1, places)
        patches = x.flatten(2).index_select(2, index.flatten())  # (B, C, kernel * positions)
        split = patches.reshape(len(x), self.groups, -1, index.shape[1])  # (B, G, K, positions)
        return split.permute(1, 0, 3, 2).reshape(self.groups, -1, self.sizes[2])


def _drawn(count: int, share: float, seed: int, device: torch.device) -> Tensor | None:
    """A random share of the numbers below `count`, at least one, in order; None for all."""
    wanted = max(1, ceil(share * count))
    if wanted >= count:
        return None
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:wanted].sort().values.to(device)


def _each(value: Any, dims: int) -> tuple[int, ...]:
    """A number for every axis."""
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    return values * dims if len(values) == 1 else values
