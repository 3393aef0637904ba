"""Wanda: the magnitude of a weight times the norm of its input (Sun et al. 2024)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.passes import watched_passes
from prunectl.masks import prunable
from prunectl.scores import Scores
from prunectl.torchtools import distributed
from prunectl.torchtools.storages import Storages
from prunectl.torchtools.weight_products import weight_product


def weight_times_input(model: nn.Module, data: Batches, *, images: int = 128) -> Scores:
    """|θ| · ‖X‖₂ of every prunable weight; X are all inputs that it multiplies, over images and positions.

    If X is all zeros, because the network computes with another tensor made from the weight, the score is |θ|. Source:
    Sun, Liu, Bair & Kolter 2024 (arXiv:2306.11695), eq. 1, with a convolution as the linear layer of its patches. The
    paper ranks the weights of each output separately.
    """
    weights = prunable(model)
    squares = _InputSquares(weights)
    for _ in watched_passes(model, data, images, squares):
        pass
    distributed.sum_(list(squares.sums.values()))
    norms = {name: sums.sqrt() if sums.any() else torch.ones_like(sums) for name, sums in squares.sums.items()}
    return Scores({name: weight.detach().abs().float() * norms[name] for name, weight in weights.items()})


class _InputSquares(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the squares of all values that every weight multiplies: tensors like the weights, float32."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = Storages(weights)
        self.sums = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in weights.items()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and record its inputs."""
        out, product = func(*args, **(kwargs or {})), weight_product(func, args, self.weights)
        if product is not None:
            squares, sums = product.taken.float().square(), self.sums[product.name]
            if product.convolves:
                sums += _of_kernel(out, squares, args).view_as(sums)
            else:
                matrix = args[-1]  # the weight, usually transposed
                found = squares.sum(0).unsqueeze(1).expand_as(matrix)
                sums += (found if _laid_out_alike(matrix, sums) else found.T).reshape(sums.shape)
        return out


def _laid_out_alike(matrix: Tensor, weight: Tensor) -> bool:
    """Whether a view of a weight has its axes in the weight's order."""
    return matrix.shape == weight.shape and matrix.stride() == weight.stride()


def _of_kernel(out: Tensor, squares: Tensor, args: Any) -> Tensor:
    """The sum of the inputs that each weight of a convolution multiplies, over images and positions, in its shape.

    It is the derivative of the sum of the outputs by the weight.
    """
    _, weight, _, *geometry = args
    only_weight = [False, True, False]
    ones = torch.ones_like(out, dtype=torch.float32)
    found: Tensor = torch.ops.aten.convolution_backward(ones, squares, weight.float(), None, *geometry, only_weight)[1]
    return found


wanda = Criterion(
    weight_times_input,
    schedule="one-shot",
    scope="output",
    source="Sun et al. 2024, arXiv:2306.11695, eq. 1",
    when="after",
)
