"""Channels without a weight: constants, and where BatchNorm takes them away."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoint import Checkpoint
from prunectl.masks import PRUNABLE, Enforcer, Masks, input_axes
from prunectl.modes import evaluating


def holding(checkpoint: Checkpoint) -> Enforcer:
    """What keeps the pruned weights of a network at zero in training, and the biases that nothing feels as they are."""
    model, masks = checkpoint.model, checkpoint.masks
    return Enforcer(masks, model, unfelt_biases(model, masks, checkpoint.spec.input))


def unfelt_biases(model: nn.Module, masks: Masks, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """The biases, by name, of channels with no weight left, where a BatchNorm comes next: bool (channels,).

    Such a channel is its bias alone, which a norm by the batch takes away: the gradient is what rounding leaves, and
    Adam makes whole steps of it. The bias then wanders, and in evaluation the running mean is behind it by hundreds
    of the standard deviations, of nearly nothing, by which the norm divides. `shape` is that of an image.
    """
    dead = {name: rows for name, rows in _without_weights(model, masks).items() if rows.any()}
    normed = _before_norms(model, set(dead), shape) if dead else set()
    return {name: rows for name, rows in dead.items() if name in normed}


def _without_weights(model: nn.Module, masks: Masks) -> dict[str, Tensor]:
    """Which entries of each bias belong to a channel whose weights are all pruned."""
    axes, biases = input_axes(model), {name for name, _ in model.named_parameters()}
    found = {}
    for weight, axis in axes.items():
        bias = _bias_of(weight)
        if weight in masks and bias in biases and axis is not None:
            kept = masks[weight].movedim(1 - axis, 0).flatten(1)
            found[bias] = ~kept.any(1) & masks.get(bias, torch.ones_like(kept[:, 0]))
    return found


def _bias_of(weight: str) -> str:
    return f"{weight.removesuffix('weight')}bias"


def _before_norms(model: nn.Module, biases: set[str], shape: tuple[int, int, int]) -> set[str]:
    """The biases of layers that hand what they give to a BatchNorm, as one run of a blank image tells."""
    given: dict[int, tuple[str, Tensor]] = {}
    normed: set[str] = set()

    def gives(bias: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            given[id(output)] = (bias, output)

        return hook

    def takes(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and id(inputs[0]) in given:
            normed.add(given[id(inputs[0])][0])

    hooks = []
    for name, module in model.named_modules():
        bias = f"{name}.bias" if name else "bias"
        if isinstance(module, PRUNABLE) and bias in biases:
            hooks.append(module.register_forward_hook(gives(bias)))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            hooks.append(module.register_forward_pre_hook(takes))
    try:
        with evaluating(model), torch.no_grad():
            model(torch.zeros(1, *shape, device=next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return normed
