"""layout: chooses the memory format in which a network's convolutions are fastest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.torchtools.contexts import autocast, evaluating, precision
from prunectl.torchtools.copies import like_parameters, with_tensors

LEAST_CHANNELS, LEAST_PLAIN, LEAST_CONVOLVED = 16, 0.5, 0.95
"""Least channels in and out of a plain convolution, and least shares of multiplications in these and all convolutions.

The measurements behind the rule are in tests/benchmarks/layouts.json: narrow convolutions lose in channels-last.
"""
LARGE_KERNEL, MOST_LARGE, MOST_LARGE_BY_WEIGHTS = 1 << 20, 0.3, 0.1
"""Weights of a convolution that loses in channels-last, mostly in its weight gradient, and the share of all
multiplications that such convolutions may do."""
LEAST_CONVOLVED_IN_BFLOAT16 = 0.5
"""The least share of convolutions with which a network gains in bfloat16, however narrow they are.

On AVX-512-BF16, twelve networks in channels-last evaluate 1.08 to 1.45 times as fast as contiguous, and all but one
train at least as fast (tests/benchmarks/layouts_avx512_amp.json).
"""
CONTIGUOUS, CHANNELS_LAST = torch.contiguous_format, torch.channels_last


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer run on one image; `channels` is the smaller of its channels in and out."""

    convolves: bool
    channels: int
    groups: int
    weights: int
    multiplications: int

    @property
    def is_plain(self) -> bool:
        """Whether it is an ungrouped convolution, wide enough to gain."""
        return self.convolves and self.groups == 1 and self.channels >= LEAST_CHANNELS


def layout(
    model: nn.Module,
    shape: tuple[int, int, int],
    *,
    by_weights: bool = False,
    training: bool = False,
    amp: bool = False,
) -> torch.memory_format:
    """Channels-last or contiguous, for images (C, H, W); it depends only on the layers, so every run gets the same.

    `by_weights` says that weight gradients are computed, `amp` that it runs under `autocast`. On a gpu, only a training
    uses channels-last. A network whose code needs contiguous feature maps (`x.view(len(x), -1)`) stays contiguous.
    """
    device = like_parameters(model).device.type
    if device not in ("cpu", "cuda") or (device == "cuda" and not training):
        return CONTIGUOUS
    by_weights = by_weights or training
    rounded = amp and precision(model, amp=True) == "bfloat16"
    least = 1 if rounded or device == "cuda" else LEAST_CHANNELS
    if not any(_may_gain(module, least) for module in model.modules()):
        return CONTIGUOUS
    if any(weight.is_inference() for weight in _kernels(model)):  # these cannot be replaced
        return CONTIGUOUS
    layers = _ran(model, shape)
    if layers is None or (device == "cpu" and not gains(layers, by_weights=by_weights, rounded=rounded)):
        return CONTIGUOUS
    return CHANNELS_LAST


def gains(layers: list[Layer], *, by_weights: bool, rounded: bool = False) -> bool:
    """Whether these layers are faster in channels-last on a cpu; `rounded` means bfloat16."""
    total = sum(layer.multiplications for layer in layers)

    def share(chosen: Callable[[Layer], bool]) -> float:
        return sum(layer.multiplications for layer in layers if chosen(layer)) / max(total, 1)

    plain, convolved = share(lambda layer: layer.is_plain), share(lambda layer: layer.convolves)
    if rounded:
        return convolved >= LEAST_CONVOLVED_IN_BFLOAT16
    large, most = (
        share(lambda layer: layer.convolves and layer.weights > LARGE_KERNEL),
        MOST_LARGE_BY_WEIGHTS if by_weights else MOST_LARGE,
    )
    return plain >= LEAST_PLAIN and convolved >= LEAST_CONVOLVED and large <= most


def lay_out_(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Put the weights of convolutions in a format; their values and the Parameter objects stay."""
    with torch.inference_mode(False):  # else the weights could not be trained afterwards
        for weight in _kernels(model):
            weight.data = _in_format(weight.data, memory_format)


def _in_format(tensor: Tensor, memory_format: torch.memory_format) -> Tensor:
    """The tensor with the strides of a format.

    The kernels of a depthwise convolution, or of one on a single channel, count as being in both formats. Their strides
    decide which one torch computes in.
    """
    strides = torch.empty_like(tensor, device="meta", memory_format=memory_format).stride()
    return tensor if tensor.stride() == strides else tensor.clone(memory_format=memory_format)


@contextmanager
def fastest(
    model: nn.Module, shape: tuple[int, int, int], *, amp: bool = False, by_weights: bool = False
) -> Iterator[None]:
    """Put a network in the fastest layout for images (C, H, W) inside the block, with `amp` under `autocast`."""
    with laid_out(model, shape, amp=amp, by_weights=by_weights), autocast(model, enabled=amp):
        yield


@contextmanager
def laid_out(
    model: nn.Module, shape: tuple[int, int, int], *, amp: bool = False, by_weights: bool = False
) -> Iterator[None]:
    """Put a network in the fastest layout for images (C, H, W) inside the block; with `amp`, in that of bfloat16.

    Afterwards its weights are back in their original format.
    """
    last = layout(model, shape, by_weights=by_weights, amp=amp) == CHANNELS_LAST
    before = [weight for weight in _kernels(model) if weight.is_contiguous()] if last else []
    try:
        if last:
            lay_out_(model, CHANNELS_LAST)
        yield
    finally:
        with torch.inference_mode(False):
            for weight in before:
                weight.data = _in_format(weight.data, CONTIGUOUS)


def _kernels(model: nn.Module) -> list[Tensor]:
    """The weights of two-dimensional convolutions, except those that a parametrisation computes."""
    layers = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    weights = (module._parameters.get("weight") for module in layers)
    return [weight for weight in weights if weight is not None]


def _may_gain(module: nn.Module, least: int) -> bool:
    """Whether it is a plain convolution with these numbers of channels."""
    if not isinstance(module, nn.Conv2d) or module.groups > 1:
        return False
    return min(module.in_channels, module.out_channels) >= least


def _ran(model: nn.Module, shape: tuple[int, int, int]) -> list[Layer] | None:
    """The layers that run in channels-last on a blank image; None if the network does not run in it."""
    found = list[Layer]()
    try:
        copied = with_tensors(model, _channels_last)
        for module in copied.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(partial(_note, found.append))
        image = like_parameters(copied, 1, *shape).contiguous(memory_format=CHANNELS_LAST)
        with evaluating(copied), torch.no_grad(), torch.random.fork_rng(devices=[]):
            copied(image)
    except Exception:  # noqa: BLE001  (the network's own code may raise anything)
        return None
    return found


def _note(add: Callable[[Layer], None], module: nn.Conv2d | nn.Linear, _inputs: Any, output: Tensor) -> None:
    """Add a layer that has run."""
    weights = module.weight.numel()
    if isinstance(module, nn.Conv2d):
        channels, places = min(module.weight.shape[1] * module.groups, module.weight.shape[0]), output.shape[-2:]
        add(Layer(True, channels, module.groups, weights, weights * places.numel()))
    else:
        add(Layer(False, min(module.weight.shape), 1, weights, output.numel() * module.weight.shape[1]))


def _channels_last(tensor: Tensor) -> Tensor:
    """A copy of a buffer, a small kernel in channels-last, or the same values of any other parameter.

    Small kernels are enough: layers after one in channels-last are in channels-last too, and large ones take memory.
    """
    if not isinstance(tensor, nn.Parameter):
        return tensor.clone()
    fits = tensor.ndim == 4 and tensor.numel() <= LARGE_KERNEL
    return tensor.detach().contiguous(memory_format=CHANNELS_LAST) if fits else tensor.detach()
