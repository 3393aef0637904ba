"""Nodes that a mask has killed, and the constants that they leave behind."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.masks import Masks
from prunectl.modes import evaluating
from prunectl.structure.nodes import FROZEN, Structure, Wiring, connected, wirings


def bury_(model: nn.Module, structure: Structure, masks: Masks, shape: tuple[int, int, int]) -> Tensor:
    """Find the nodes that can go without a change of the function: bool (nodes,).

    A node that feeds nothing goes. A node that nothing feeds is a constant: it goes when every consumer can take the
    constant into its bias, which changes the model in place. At the zero padding of a convolution a constant other than
    zero is not constant, so such a node stays. On every axis at least one node stays. `model` is best in float64.
    """
    wires = wirings(structure, model, masks)
    removed = torch.zeros(structure.nodes + 1, dtype=torch.bool)
    while True:
        fed, feeds = connected(wires, removed)
        useless = ~feeds & ~removed
        constant = ~fed & feeds & ~removed
        useless[FROZEN] = constant[FROZEN] = False
        folded = _fold_(model, wires, constant, shape) if constant.any() else constant
        now = _leave_one(structure, removed, removed | useless | folded)
        if torch.equal(now, removed):
            return removed[:-1]
        removed = now


def _leave_one(structure: Structure, before: Tensor, after: Tensor) -> Tensor:
    """Take back one removal on every axis that would become empty."""
    after = after.clone()
    for classes in structure.axes.values():
        if after[classes].all():
            after[classes[~before[classes]][0]] = False
    return after


def _fold_(model: nn.Module, wires: list[Wiring], constant: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Move constants into the biases of their consumers, where all consumers of a node allow it; say of which."""
    inputs = _inputs(model, wires, shape)
    foldable = constant.clone()
    for wire in wires:
        chosen = torch.nonzero(constant[wire.inputs]).flatten()
        values = inputs[wire.name][:, chosen]  # (B, chosen, positions)
        steady = (values - values[:1, :, :1]).abs().amax((0, 2)) <= 1e-12 * (1 + values.abs().amax((0, 2)))
        zero = (values == 0).all(2).all(0)
        takes = zero | (steady & _takes_constants(_layer(model, wire.name)))
        foldable[wire.inputs[chosen[~takes.cpu()]]] = False
    for wire in wires:
        chosen = torch.nonzero(foldable[wire.inputs]).flatten()
        if len(chosen):
            _shift_bias_(_layer(model, wire.name), chosen, inputs[wire.name][0, chosen, 0])
    return foldable


def _takes_constants(layer: Any) -> bool:
    """Whether a constant input channel is nothing but a shift of the layer's bias."""
    if layer.bias is None:
        return False
    return isinstance(layer, nn.Linear) or layer.padding in ("valid", (0,) * len(layer.weight.shape[2:]))


def _shift_bias_(layer: Any, chosen: Tensor, values: Tensor) -> None:
    """Add what the chosen inputs contribute at these values to the bias, and cut them off."""
    with torch.no_grad():
        weight = layer.weight[:, chosen].flatten(2).sum(2) if layer.weight.ndim > 2 else layer.weight[:, chosen]
        if layer.bias is not None:
            layer.bias += weight @ values
        layer.weight[:, chosen] = 0


def _inputs(model: nn.Module, wires: list[Wiring], shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """What arrives at every prunable layer for two random images: (B, channels, positions)."""
    arrived: dict[str, Tensor] = {}

    def recorder(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def record(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            arrived[name] = args[0].flatten(2) if args[0].ndim > 2 else args[0][:, :, None]

        return record

    hooks = [_layer(model, wire.name).register_forward_pre_hook(recorder(wire.name)) for wire in wires]
    weight = next(model.parameters())
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    try:
        with evaluating(model), torch.no_grad():
            model(images.to(weight))
    finally:
        for hook in hooks:
            hook.remove()
    return arrived


def _layer(model: nn.Module, weight: str) -> nn.Module:
    return model.get_submodule(weight.rpartition(".")[0])
