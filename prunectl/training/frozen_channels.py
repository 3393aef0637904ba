"""Freezes channels in which pruning left nothing to train, if BatchNorm cancels them."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prunectl.masks import Masks, input_axes
from prunectl.pruning.reachability import Reachability
from prunectl.torchtools.copies import like_parameters, on_meta
from prunectl.torchtools.storages import Storages
from prunectl.torchtools.weight_products import CHANNEL_AXIS
from prunectl.training.varying_channels import varying

_BIAS = {"convolution": 2, "addmm": 0}
"""The index of the bias among an operation's arguments."""
_VIEWS = {"t", "transpose", "permute", "view", "detach", "alias"}


def frozen_entries(model: nn.Module, masks: Masks, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """The entries to freeze in channels that BatchNorm cancels and that only BatchNorm reads: bool, by parameter.

    A channel that no path of kept weights reaches is a constant, and BatchNorm subtracts it. If a channel reads the
    image through a single weight, BatchNorm cancels that weight's scale. (Except after padding, where a constant is
    smaller at the borders.) The gradients of such weights and biases are rounding errors and weight decay, which Adam
    scales up to full steps. Their output drifts. In evaluation BatchNorm's running mean lags behind it, and the tiny
    running deviation turns that lag into a large error. So these weights and biases are frozen, and, after constants,
    also BatchNorm's scale and shift, which later layers do not need. A channel that a path reaches (`Reachability`) or
    that differs between random images (`varying`: sound, incomplete) never counts as a constant. Nothing is frozen in
    a network that fails on random images or on the meta device. `shape` is that of an image.
    """
    if not masks:
        return {}
    live = _live_weights(model, masks, shape)
    few = {name: counts <= 1 for name, counts in live.items() if (counts <= 1).any()}
    frozen: dict[str, Tensor] = {}
    axes = input_axes(model)
    for name, (biases, norms) in (_cancelled(model, few, shape) if few else {}).items():
        axis, mask, constant = axes[name], masks[name], live[name] == 0
        assert axis is not None
        frozen[name] = few[name].view(-1, *[1] * (mask.ndim - 1)).movedim(0, 1 - axis)
        for vectors, rows in ((biases, few[name]), (norms, constant)):
            for vector in vectors:  # several weights may share one
                frozen[vector] = rows & frozen.get(vector, rows)
    frozen = {name: entries & masks.of(name, entries) for name, entries in frozen.items()}
    return {name: entries for name, entries in frozen.items() if entries.any()}


def _live_weights(model: nn.Module, masks: Masks, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """The number of a channel's kept weights whose input depends on the image: int64 (channels,), by masked weight.

    A channel that nothing reaches in the dense network either counts as having all its weights.
    """
    flow, found = Reachability(model, shape), {}
    try:
        (_, dense), (inputs, outputs) = flow.arrives(Masks.dense()), flow.arrives(masks)
        varies = varying(model, masks, shape)
    except Exception:  # noqa: BLE001  (the network's own code may raise anything)
        return {}
    for name, axis in input_axes(model).items():
        ran = name in masks and all(name in ends for ends in (dense, outputs, varies.outputs))
        if ran and axis is not None:  # None: channels of several groups share a row
            kept = masks[name].movedim(1 - axis, 0).flatten(2) if masks[name].ndim > 2 else masks[name][..., None]
            reads, writes = inputs[name] | varies.inputs[name], outputs[name] | varies.outputs[name]
            if name in varies.bordered or len(reads) != kept.shape[1]:  # constants differ at borders; groups
                reads = torch.ones_like(kept[0, :, 0])
            counts = (kept & reads[:, None]).flatten(1).sum(1) * writes
            whole = kept.flatten(1).all(1) & writes | ~dense[name]
            found[name] = counts.masked_fill(whole, kept[0].numel() + 1)
    return found


def _cancelled(
    model: nn.Module, weights: Iterable[str], shape: tuple[int, int, int]
) -> dict[str, tuple[set[str], set[str]]]:
    """The weights whose outputs only BatchNorms read, each with its biases and the parameters of these BatchNorms.

    Found in one forward pass in training mode on the meta device.
    """
    network = on_meta(model).train()
    reads, images = _Reads(dict(network.named_parameters()), set(weights)), like_parameters(network, 2, *shape)
    try:
        with reads, torch.no_grad():
            given = network(images)
    except Exception:  # noqa: BLE001  (the network's own code may raise anything)
        return {}
    reads.see(tree_leaves(given))
    return reads.cancelled()


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records which operations read the outputs of some weights, and whether all of them are BatchNorms."""

    def __init__(self, parameters: Mapping[str, Tensor], weights: set[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.parameters = Storages(parameters)
        self.weights = weights
        self.outputs: dict[int, tuple[str, Tensor]] = {}
        """The weights' outputs by id, kept alive so that no id is used twice."""
        self.felt: set[str] = set()
        """Weights and biases that other operations read, directly or through their outputs."""
        self.biases: dict[str, set[str]] = {name: set() for name in weights}
        self.norms: dict[str, set[str]] = {name: set() for name in weights}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and record its inputs."""
        out = func(*args, **(kwargs or {}))
        read, kind = tree_leaves((args, kwargs)), func._overloadpacket.__name__
        named = self.parameters.among(read)
        if read and id(read[0]) in self.outputs and _by_the_batch(func, args):
            self.norms[self.outputs[id(read[0])][0]] |= set(named)
            return out
        self.see(read)
        weight = next((name for name in named if name in self.weights), None)
        if kind in CHANNEL_AXIS and weight is not None:
            self.outputs[id(out)] = (weight, out)
            bias = self.parameters.name(args[_BIAS[kind]]) if kind in _BIAS else None
            self.biases[weight] |= set() if bias is None else {bias}
            self.felt |= {*named} - {weight, bias}
        elif kind not in _VIEWS:
            self.felt |= {*named}
        return out

    def see(self, read: Iterable[Any]) -> None:
        """Record that an operation other than a BatchNorm reads these."""
        self.felt |= {self.outputs[id(tensor)][0] for tensor in read if id(tensor) in self.outputs}

    def cancelled(self) -> dict[str, tuple[set[str], set[str]]]:
        """The weights that only BatchNorms read, each with its biases and the parameters of these BatchNorms."""
        return {
            name: (self.biases[name], self.norms[name] - self.felt)
            for name in {name for name, _ in self.outputs.values()}
            if not self.felt & {name, *self.biases[name]}
        }


def _by_the_batch(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether an operation is a BatchNorm that uses the statistics of the batch."""
    names = [argument.name for argument in func._schema.arguments]
    return "batch_norm" in func._overloadpacket.__name__ and ("training" not in names or args[names.index("training")])
