"""Optimal Brain Surgeon for a layer: its Hessian H = X Xᵀ of the inputs X, and the best values of kept weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from prunectl.criteria.base.criterion import Batches
from prunectl.criteria.base.passes import watched_passes
from prunectl.errors import OptionError
from prunectl.masks import prunable
from prunectl.torchtools import distributed
from prunectl.torchtools.normal_equations import NormalEquations, solved
from prunectl.torchtools.storages import Storages
from prunectl.torchtools.unfolding import CONVOLUTION, LINEAR, TRANSPOSED, Unfolding
from prunectl.torchtools.weight_products import weight_product

_GEOMETRY = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")


@dataclass(eq=False)
class Layer:
    """A weight as a matrix (G, O, K), and its Hessian (G, K, K), float64: the sum of x xᵀ over all inputs x."""

    unfolding: Unfolding
    matrix: Tensor
    hessian: Tensor

    def updated(self, mask: Tensor) -> Tensor:
        """The weight with kept entries at the values that change the outputs least: δ = H_SS⁻¹ H_SP w_P in every row.

        S are the kept weights of the row, P the pruned ones.
        """
        kept = self.unfolding.matrix(mask)
        nothing = torch.zeros_like(self.hessian[:, :, 0])
        wanted = self.hessian @ self.matrix.transpose(1, 2)
        sums = NormalEquations(self.hessian, wanted, nothing, torch.zeros_like(wanted[:, 0]))
        return self.unfolding.weight(solved(sums, self.matrix * kept, kept, 0.0))


def layers(model: nn.Module, data: Batches, images: int, damp: float) -> dict[str, Layer]:
    """The layers of a network by weight name; `damp` times its mean is added to the diagonal of H.

    If all inputs are zero, H is the identity. The Hessians of all layers are in memory at once.
    """
    if damp < 0:
        raise OptionError(f"damp must be 0 or more, got {damp}")
    weights = prunable(model)
    watching = _Inputs(weights)
    for _ in watched_passes(model, data, images, watching):
        pass
    distributed.sum_(list(watching.sums.values()))
    found = {}
    for name, weight in weights.items():
        unfolding = watching.unfoldings.get(name) or Unfolding(LINEAR, (len(weight), weight[0].numel()))
        hessian = watching.sums[name] if name in watching.sums else _zeros(unfolding, weight)
        diagonal = hessian.diagonal(dim1=1, dim2=2)
        means = diagonal.mean(1, keepdim=True)
        diagonal += torch.where(means > 0, max(damp, 1e-12) * means, torch.ones_like(means))
        found[name] = Layer(unfolding, unfolding.matrix(weight.detach()).double(), hessian)
    return found


def update(
    found: Mapping[str, Layer], masks: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]
) -> dict[str, Tensor]:
    """The pruned weights, with the values of `Layer.updated`."""
    pruned = [name for name in found if name in masks and not masks[name].all()]
    return {name: found[name].updated(masks[name]).reshape(shapes[name]) for name in pruned}


def _zeros(unfolding: Unfolding, weight: Tensor) -> Tensor:
    groups, _, inputs = unfolding.sizes
    return torch.zeros(groups, inputs, inputs, dtype=torch.float64, device=weight.device)


class _Inputs(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up x xᵀ over all inputs x of every weight."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights, self.named = Storages(weights), weights
        self.unfoldings: dict[str, Unfolding] = {}
        self.sums: dict[str, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and record its inputs."""
        out, product = func(*args, **(kwargs or {})), weight_product(func, args, self.weights)
        if product is not None:
            weight = self.named[product.name]
            geometry = dict(zip(_GEOMETRY, args[3:], strict=False)) if product.convolves else {}
            kind = TRANSPOSED if geometry.get("transposed") else CONVOLUTION if product.convolves else LINEAR
            used = args[1] if product.convolves else args[-1].T
            if used.shape == weight.shape and used.stride() == weight.stride():
                self._add_(product.name, Unfolding.of(kind, tuple(weight.shape), geometry), product.taken, out)
        return out

    def _add_(self, name: str, unfolding: Unfolding, x: Tensor, out: Tensor) -> None:
        self.unfoldings[name] = unfolding
        if name not in self.sums:
            self.sums[name] = _zeros(unfolding, self.named[name])
        for rows, _ in unfolding.pieces(x, out):
            self.sums[name].baddbmm_(rows.transpose(1, 2), rows)
