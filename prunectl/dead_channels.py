"""Channels that have lost all their weights: in training, their biases stand still where BatchNorm cancels them."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prunectl.checkpoint import Checkpoint
from prunectl.masks import Enforcer, Masks, input_axes
from prunectl.shadow import like_parameters, on_meta

_ADD_BIAS = {"convolution", "addmm"}
"""The operations of convolutions and linear layers that add a bias."""


def enforcer_for(checkpoint: Checkpoint) -> Enforcer:
    """What holds the pruned weights of a network at zero in training, and redundant biases where they are."""
    model, masks = checkpoint.model, checkpoint.masks
    return Enforcer(masks, model, redundant_biases(model, masks, checkpoint.spec.input))


def redundant_biases(model: nn.Module, masks: Masks, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """Entries of biases, by name, of channels without a weight whose output goes to BatchNorms alone: bool (channels,).

    Such a channel gives its bias everywhere, so a norm by the batch cancels it: its gradient is rounding error and
    weight decay, of which Adam makes whole steps. The bias wanders, and in evaluation the running mean is behind it, by
    up to six of the standard deviations, the square root of epsilon, that the norm divides by (at lr 0.002).
    Channels that keep weights, but from such channels alone, are not among them, nor is anything of a network that
    cannot be run on the meta device. `shape` is that of an image.
    """
    dead = {name: rows for name, rows in _without_weights(model, masks).items() if rows.any()}
    cancelled = _cancelled(model, dead, shape) if dead else set()
    return {name: rows for name, rows in dead.items() if name in cancelled}


def _without_weights(model: nn.Module, masks: Masks) -> dict[str, Tensor]:
    """Which entries of each bias belong to a channel whose weights are all pruned."""
    axes, biases = input_axes(model), {name for name, _ in model.named_parameters()}
    found = {}
    for weight, axis in axes.items():
        bias = f"{weight.removesuffix('weight')}bias"
        if weight in masks and bias in biases and axis is not None:
            kept = masks[weight].movedim(1 - axis, 0).flatten(1)
            found[bias] = ~kept.any(1) & masks.get(bias, torch.ones_like(kept[:, 0]))
    return found


def _cancelled(model: nn.Module, biases: Iterable[str], shape: tuple[int, int, int]) -> set[str]:
    """Those of biases that a norm by the batch cancels wherever they are added, as one training run on meta tells."""
    network = on_meta(model).train()
    named = dict(network.named_parameters(remove_duplicate=False))
    uses = _Uses({named[name].untyped_storage()._cdata: name for name in biases})
    try:
        with uses, torch.no_grad():
            given = network(like_parameters(network, 2, *shape))
    except Exception:  # the network's own code may raise anything
        return set()
    uses.see(tree_leaves(given))
    return {name for name, _ in uses.sums.values()} - uses.felt


class _Uses(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what biases (names, by storage) are added to, and whether anything but a norm by the batch reads it."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = names
        self.sums: dict[int, tuple[str, Tensor]] = {}
        """The tensors to which a bias was added, by id; kept, so that no id is another's."""
        self.felt: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and note what it reads."""
        out = func(*args, **(kwargs or {}))
        read = tree_leaves((args, kwargs))
        if read and id(read[0]) in self.sums and _by_the_batch(func, args):
            read = read[1:]
        self.see(read)
        for tensor in read:
            name = self.names.get(tensor.untyped_storage()._cdata) if isinstance(tensor, Tensor) else None
            if name is not None and func._overloadpacket.__name__ in _ADD_BIAS:
                self.sums[id(out)] = (name, out)
            elif name is not None:
                self.felt.add(name)
        return out

    def see(self, read: Iterable[Any]) -> None:
        """Something that is no norm reads these."""
        self.felt |= {self.sums[id(tensor)][0] for tensor in read if id(tensor) in self.sums}


def _by_the_batch(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether an operation is a BatchNorm that takes the statistics of the batch."""
    names = [argument.name for argument in func._schema.arguments]
    return "batch_norm" in func._overloadpacket.__name__ and ("training" not in names or args[names.index("training")])
