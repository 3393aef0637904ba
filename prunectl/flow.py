"""Where the image arrives in a network, through the weights that are kept."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from prunectl.masks import Masks, prunable
from prunectl.modes import evaluating
from prunectl.random_state import forked
from prunectl.shadow import shadow
from prunectl.storages import Storages

Shape = tuple[int, int, int]
CHANNEL_AXIS = {"convolution": 1, "addmm": -1, "mm": -1}
"""The operations that multiply by the weights of convolutions and linear layers, and the axis of their channels."""


class Flow:
    """What an image of ones sends to the outputs without biases, through weights that average what they keep.

    Nothing is lost on the way, for what a network subtracts is added (see `_Adding`). Constants that it adds other than
    as biases, such as embeddings of positions, count as arriving.
    """

    def __init__(self, model: nn.Module, shape: Shape) -> None:
        self.network = shadow(model, lambda tensor: _positive(tensor, isinstance(tensor, nn.Parameter)))
        with torch.no_grad():
            for name, tensor in [*self.network.named_parameters(), *self.network.named_buffers()]:
                if name.rpartition(".")[2] in ("bias", "running_mean"):
                    tensor.zero_()
        self.weights = prunable(self.network)
        first = next(model.parameters())
        self.images = torch.ones(1, *shape, dtype=first.dtype, device=first.device)

    def reaches(self, masks: Masks) -> bool:
        """Whether anything arrives through the weights that are kept."""
        with torch.no_grad():
            return bool(self.logits(masks).sum() > 0)

    def arrives(self, masks: Masks) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """At which input and which output channels of every weight that is used anything arrives: bool, by name."""
        ends = _Ends(self.weights)
        with ends, torch.no_grad():
            self.logits(masks)
        return ends.inputs, ends.outputs

    def on_paths(self, masks: Masks) -> dict[str, Tensor]:
        """Which kept weights are on a path: bool by name."""
        found = torch.autograd.grad(
            self.logits(masks).sum(), list(self.weights.values()), allow_unused=True, materialize_grads=True
        )
        return {name: (g * w.detach()) > 0 for (name, w), g in zip(self.weights.items(), found, strict=True)}

    def logits(self, masks: Masks) -> Tensor:
        """What arrives at each output, (1, classes)."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                kept = masks[name].to(weight) if name in masks else torch.ones_like(weight)
                inputs = kept.flatten(1).sum(1).clamp_min(1)
                weight.copy_(kept / inputs.view(-1, *[1] * (weight.ndim - 1)))
        device = self.images.device
        with forked(device), evaluating(self.network), torch.autocast(device.type, enabled=False), _Adding():
            arrives: Tensor = self.network(self.images)
        return arrives


class _Ends(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which channels are above zero before and behind each weight."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = Storages(weights)
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and look at what it takes and gives."""
        out, kind = func(*args, **(kwargs or {})), func._overloadpacket.__name__
        if kind in CHANNEL_AXIS:
            taken = args[1 if kind == "addmm" else 0]  # behind the bias
            for name in self.weights.among(args)[:1]:
                for ends, tensor in ((self.inputs, taken), (self.outputs, out)):
                    found = (tensor > 0).movedim(CHANNEL_AXIS[kind], 0).flatten(1).any(1)
                    ends[name] = found | ends.get(name, found)
        return out


class _Adding(TorchFunctionMode):
    """Runs a network on numbers that are not negative: it adds where it would subtract.

    Norms over the image, which would give zeros for equal values, give the mean of what arrives instead, everywhere,
    as each of their outputs depends on all that they norm. Convolutions and linear layers give ones where anything
    arrives, so that no depth and no variance makes it too large or too small for the type.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, or what stands for it where it takes floating-point numbers."""
        instead = _INSTEAD.get(func) if args and isinstance(args[0], Tensor) and args[0].is_floating_point() else None
        return (instead or func)(*args, **(kwargs or {}))


def _same(value: Tensor, *_: Any, **__: Any) -> Tensor:
    return value.clone()


def _ones(layer: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A layer that gives ones where it would give anything, with the gradients of their logarithms."""

    def instead(*args: Any, **kwargs: Any) -> Tensor:
        given = layer(*args, **kwargs)
        size = given.detach()
        return given / size.masked_fill(size == 0, 1)

    return instead


def _spread(value: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The mean of what is above zero along some axes, at every place."""
    there = (value > 0).sum(axes, keepdim=True).clamp_min(1)
    return (value.sum(axes, keepdim=True) / there).expand_as(value).clone()  # which may be written to


def _by_channel(value: Tensor, factors: Tensor | None) -> Tensor:
    return value if factors is None else value * factors.view(-1, *[1] * (value.ndim - 2))


def _layer_norm(value: Tensor, normalized_shape: Any, weight: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    spread = _spread(value, tuple(range(-len(normalized_shape), 0)))
    return spread if weight is None else spread * weight


def _group_norm(value: Tensor, num_groups: int, weight: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    return _by_channel(_spread(value.reshape(len(value), num_groups, -1), (2,)).reshape(value.shape), weight)


def _instance_norm(
    value: Tensor,
    mean: Any = None,
    var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    *_: Any,
    **__: Any,
) -> Tensor:
    if not use_input_stats:
        return F.batch_norm(value, mean, var, weight, bias)
    return _by_channel(_spread(value, tuple(range(2, value.ndim))), weight)


def _batch_norm(
    value: Tensor,
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    *_: Any,
    **__: Any,
) -> Tensor:
    if not training:
        return F.batch_norm(value, mean, var, weight, bias)
    return _by_channel(_spread(value, (0, *range(2, value.ndim))), weight)


_LAYERS = (
    F.linear,
    F.conv1d,
    F.conv2d,
    F.conv3d,
    F.conv_transpose1d,
    F.conv_transpose2d,
    F.conv_transpose3d,
)
_INSTEAD: dict[Callable[..., Any], Callable[..., Tensor]] = {
    torch.sub: torch.add,
    torch.subtract: torch.add,
    torch.rsub: torch.add,
    Tensor.sub: torch.add,
    Tensor.subtract: torch.add,
    Tensor.__sub__: torch.add,
    Tensor.__rsub__: torch.add,
    Tensor.sub_: Tensor.add_,
    Tensor.__isub__: Tensor.add_,
    torch.neg: _same,
    Tensor.neg: _same,
    Tensor.__neg__: _same,
    F.log_softmax: _same,
    torch.log_softmax: _same,
    Tensor.log_softmax: _same,
    **{layer: _ones(layer) for layer in _LAYERS},
    F.layer_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.instance_norm: _instance_norm,
    F.batch_norm: _batch_norm,
}
"""What a network calls, and what is run in its place."""


def _positive(tensor: Tensor, parameter: bool) -> Tensor:
    """|t|, of its own, with a gradient where it is a parameter; integers as they are."""
    made = tensor.detach().abs() if tensor.is_floating_point() else tensor.detach().clone()
    return made.requires_grad_() if parameter and made.is_floating_point() else made
