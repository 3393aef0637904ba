"""Feature maps: what a network computes for a node, image by image, and the scores computed from them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from prunectl.criteria.base.criterion import Batches
from prunectl.criteria.base.passes import watched_passes
from prunectl.scores import Scores
from prunectl.structure.gates import above_where
from prunectl.structure.nodes import FROZEN, Structure
from prunectl.torchtools import distributed
from prunectl.torchtools.storages import Storages
from prunectl.torchtools.weight_products import weight_product

Worth = Callable[[Tensor, Tensor], Tensor]
"""Maps (B, C, H, W), float32 on the cpu, and the place of each channel's node (C,) among n -> sums over images (n,)."""


def over_maps(model: nn.Module, data: Batches, structure: Structure, images: int, worth: Worth) -> Scores:
    """The mean score of a node's feature map over images; nodes without one are pruned last.

    The map of a node is the last tensor with the shape of its weight's output: after norms, sums and activations, and
    before an operation that changes the size. A neuron's map is 1 x 1.
    """
    watching = _Maps(model, structure)
    total, seen = torch.zeros(2, structure.nodes + 1, dtype=torch.float64)  # the last entries stand for FROZEN
    count = 0
    for taken in watched_passes(model, data, images, watching):
        count += taken
        found = torch.zeros_like(total)
        for classes, maps in watching.collected():
            nodes, places = torch.unique(classes, return_inverse=True)
            found[nodes], seen[nodes] = worth(maps, places).double(), 1
        total += found
    sums = torch.stack([total, seen, torch.full_like(total, count)]).float().to(next(model.parameters()).device)
    distributed.sum_([sums])
    worths, seen, images_in_all = sums.cpu()[:, :FROZEN]
    return above_where(seen == 0, worths / images_in_all)


class _Maps(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the outputs of weights through operations that keep their shape."""

    def __init__(self, model: nn.Module, structure: Structure) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = Storages({name: p for name, p in model.named_parameters() if p.ndim > 1})
        self.structure = structure
        self.rows: Any = WeakTensorKeyDictionary()
        self.last: dict[bytes, tuple[Tensor, Tensor, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and note the channels of its output."""
        out = func(*args, **(kwargs or {}))
        made = out[0] if isinstance(out, tuple | list) and out else out
        if isinstance(made, Tensor):
            row = self._of_weight(func, args, made) or self._of_input(args, made)
            if row is not None:
                self.rows[made] = row
                key = row[0].numpy().tobytes()
                self.last.pop(key, None)
                self.last[key] = (row[0], made, row[1])
        return out

    def collected(self) -> list[tuple[Tensor, Tensor]]:
        """The class of every channel (C,) and the maps (B, C, H, W) of one pass, in the order of completion."""
        found = []
        for classes, tensor, axis in self.last.values():
            maps = tensor.movedim(axis, 1)
            maps = maps.reshape(*maps.shape, *[1] * (4 - maps.ndim)).flatten(3)
            found.append((classes, maps.float().cpu()))
        self.last.clear()
        return found

    def _of_weight(self, func: Any, args: Any, made: Tensor) -> tuple[Tensor, int] | None:
        """The classes of the channels that a weight outputs, and their axis."""
        product = weight_product(func, args, self.weights)
        if product is None:
            return None
        axes, size = self.structure.axes, made.shape[product.axis]
        ends = [(product.name, axis) for axis in (0, 1) if (product.name, axis) not in self.structure.consumers]
        found = [axes[end] for end in ends if end in axes and len(axes[end]) == size and (axes[end] != FROZEN).any()]
        return (found[0], product.axis % made.ndim) if found else None

    def _of_input(self, args: Any, made: Tensor) -> tuple[Tensor, int] | None:
        """The classes of an input with the same shape, or with the same features at every position."""
        for value in args:
            row = self.rows.get(value) if isinstance(value, Tensor) else None
            if row is None:
                continue
            if value.shape == made.shape:
                return row  # type: ignore[no-any-return]
            last = row[1] == value.ndim - 1 and made.ndim > 1 and value.shape[-1] == made.shape[-1]
            if last and value.numel() == made.numel():
                return row[0], made.ndim - 1
        return None
