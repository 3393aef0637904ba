"""Where the image arrives in a network, through the weights that are kept."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from prunectl.masks import Masks, prunable
from prunectl.modes import evaluating
from prunectl.random_state import forked
from prunectl.shadow import like_parameters, shadow
from prunectl.storages import Storages

Shape = tuple[int, int, int]
CHANNEL_AXIS = {"convolution": 1, "addmm": -1, "mm": -1}
"""The operations that multiply by the weights of convolutions and linear layers, and the axis of their channels."""


class Flow:
    """What an image of ones sends to the outputs without biases, through weights that average what they keep.

    Nothing is lost on the way (see `_Adding`).
    """

    def __init__(self, model: nn.Module, shape: Shape) -> None:
        self.network = shadow(model, _positive)
        with torch.no_grad():
            for name, tensor in [*self.network.named_parameters(), *self.network.named_buffers()]:
                if name.rpartition(".")[2] in ("bias", "running_mean"):
                    tensor.zero_()
        self.weights = prunable(self.network)
        self.images = torch.ones_like(like_parameters(self.network, 1, *shape))
        for tensor in [self.images, *self.weights.values()]:
            tensor.requires_grad_()

    def reaches(self, masks: Masks) -> bool:
        """Whether anything arrives through the weights that are kept."""
        return bool(self.logits(masks).sum() > 0)

    def arrives(self, masks: Masks) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """At which input and which output channels of every weight that is used anything arrives: bool, by name.

        So do what a network adds itself, such as embeddings of positions, and what it takes in beside the image.
        """
        ends = _Ends(self.weights)
        with ends:
            self.logits(masks, constants=True)
        return ends.inputs, ends.outputs

    def on_paths(self, masks: Masks) -> dict[str, Tensor]:
        """Which kept weights are on a path: bool by name."""
        found = torch.autograd.grad(
            self.logits(masks).sum(), list(self.weights.values()), allow_unused=True, materialize_grads=True
        )
        return {name: (g * w.detach()) > 0 for (name, w), g in zip(self.weights.items(), found, strict=True)}

    def logits(self, masks: Masks, constants: bool = False) -> Tensor:
        """What arrives at each output, (1, classes), with or without the constants that a network adds itself."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                kept = masks[name].to(weight) if name in masks else torch.ones_like(weight)
                inputs = kept.flatten(1).sum(1).clamp_min(1)
                weight.copy_(kept / inputs.view(-1, *[1] * (weight.ndim - 1)))
        device = self.images.device
        without_amp = torch.autocast(device.type, enabled=False)
        with forked(device), evaluating(self.network), without_amp, torch.enable_grad(), _Adding(constants):
            arrives: Tensor = self.network(self.images.clone())
        return arrives


class _Ends(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes at which channels anything arrives before and behind each weight."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = Storages(weights)
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and look at what it takes and gives; what is not a number has come from somewhere."""
        out, kind = func(*args, **(kwargs or {})), func._overloadpacket.__name__
        if kind in CHANNEL_AXIS:
            taken = args[1 if kind == "addmm" else 0]  # behind the bias
            for name in self.weights.among(args)[:1]:
                for ends, tensor in ((self.inputs, taken), (self.outputs, out)):
                    found = (tensor != 0).movedim(CHANNEL_AXIS[kind], 0).flatten(1).any(1)
                    ends[name] = found | ends.get(name, found)
        return out


class _Adding(TorchFunctionMode):
    """Runs a network so that what the image sends is never cancelled.

    Of two tensors that depend on the image, the difference is a sum. Norms over the image, which would give zeros for
    equal values, give the mean of what arrives instead, everywhere, as each of their outputs depends on all that they
    norm. Convolutions, linear layers and norms by statistics of their own give the same wherever anything arrives, so
    that no depth and no variance makes it too large or too small. Arithmetic on constants, such as masks and
    coordinates, stays as it is; but those that are added to the image, or put beside it, are zero if not wanted.
    """

    def __init__(self, constants: bool) -> None:
        super().__init__()
        self.constants = constants

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, or what stands for it where it reads what depends on the image or a weight."""
        reads = args[:2] if func in _DIFFERENCES else args[:1]
        run = _INSTEAD.get(func, func) if reads and all(map(_depends, reads)) else func
        if func in _SUMS and not self.constants and any(map(_depends, tree_leaves(args))):
            args = (*args[:1], *tree_map(_varying, args[1:])) if func is Tensor.add_ else tree_map(_varying, args)
        return run(*args, **(kwargs or {}))


def _depends(value: Any) -> bool:
    """Whether something is computed from the image or a weight."""
    return isinstance(value, Tensor) and value.requires_grad


def _varying(value: Any) -> Any:
    """Zeros in place of a constant."""
    constant = isinstance(value, Tensor) and value.is_floating_point() and not value.requires_grad
    return torch.zeros_like(value) if constant else value


def _sum(first: Tensor, second: Tensor, *, alpha: float = 1) -> Tensor:
    return torch.add(first, second.abs(), alpha=abs(alpha))


def _sum_(first: Tensor, second: Tensor, *, alpha: float = 1) -> Tensor:
    return first.add_(second.abs(), alpha=abs(alpha))


def _logits(value: Tensor, *_: Any, dtype: torch.dtype | None = None, **__: Any) -> Tensor:
    return value.to(value.dtype if dtype is None else dtype, copy=True)


def _level(layer: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A layer that gives 0.75, which activations pass on, where it would give anything; its gradient is a share."""

    def instead(*args: Any, **kwargs: Any) -> Tensor:
        given = layer(*args, **kwargs)
        size = given.detach()
        return 0.75 * given / size.masked_fill(size == 0, 1)

    return instead


def _spread(value: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The mean of what is above zero along some axes, at every place."""
    there = (value > 0).sum(axes, keepdim=True).clamp_min(1)
    return (value.sum(axes, keepdim=True) / there).expand_as(value).clone()  # which may be written to


def _by_channel(value: Tensor, factors: Tensor | None) -> Tensor:
    return value if factors is None else value * factors.view(-1, *[1] * (value.ndim - 2))


def _layer_norm(value: Tensor, normalized_shape: Any, *, weight: Tensor | None = None, **_: Any) -> Tensor:
    spread = _spread(value, tuple(range(-len(normalized_shape), 0)))
    return spread if weight is None else spread * weight


def _group_norm(value: Tensor, num_groups: int, *, weight: Tensor | None = None, **_: Any) -> Tensor:
    return _by_channel(_spread(value.reshape(len(value), num_groups, -1), (2,)).reshape(value.shape), weight)


def _own_or_taken(norm: Callable[..., Tensor], taken: str, *axes: int) -> Callable[..., Tensor]:
    """A norm of channels by its own statistics, as it is, or by those `taken` of its input (along `axes` too)."""

    def instead(value: Tensor, *statistics: Any, **options: Any) -> Tensor:
        if not options[taken]:
            return _level(norm)(value, *statistics, **options)
        return _by_channel(_spread(value, (*axes, *range(2, value.ndim))), options["weight"])

    return instead


_LAYERS = (F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
_DIFFERENCES: dict[Callable[..., Any], Callable[..., Tensor]] = {
    **dict.fromkeys((torch.sub, torch.subtract, Tensor.sub, Tensor.subtract), _sum),
    **dict.fromkeys((Tensor.sub_, Tensor.subtract_), _sum_),
}
_SUMS = {torch.add, Tensor.add, Tensor.add_, torch.cat, torch.concat, torch.concatenate, torch.stack}
_INSTEAD: dict[Callable[..., Any], Callable[..., Tensor]] = {
    **_DIFFERENCES,
    **dict.fromkeys((torch.neg, torch.negative, Tensor.neg, Tensor.negative), torch.abs),
    **dict.fromkeys((Tensor.neg_, Tensor.negative_), Tensor.abs_),
    **dict.fromkeys((F.log_softmax, torch.log_softmax, Tensor.log_softmax), _logits),
    **{layer: _level(layer) for layer in _LAYERS},
    F.layer_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.instance_norm: _own_or_taken(F.instance_norm, "use_input_stats"),
    F.batch_norm: _own_or_taken(F.batch_norm, "training", 0),
}
"""What is run in place of what a network calls; the norms are called as `torch.overrides` passes them on."""


def _positive(tensor: Tensor) -> Tensor:
    """|t|, of its own, of 32 bits at least; what is no floating-point number as it is."""
    if not tensor.is_floating_point():
        return tensor.detach().clone()
    return tensor.detach().abs().to(torch.promote_types(tensor.dtype, torch.float32))
