"""Finds where a signal from the image arrives in a network through kept weights."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from prunectl.masks import Masks, prunable
from prunectl.torchtools.contexts import evaluating
from prunectl.torchtools.copies import like_parameters, with_tensors
from prunectl.torchtools.rng import forked
from prunectl.torchtools.storages import Storages
from prunectl.torchtools.weight_products import weight_product

Shape = tuple[int, int, int]
_PADDING, _TRANSPOSED = 4, 6
"""Positions of these among the arguments of a convolution."""


class Reachability:
    """Runs a network on a positive image, without biases, with positive kept weights: a path makes an output above 0.

    Nothing is lost on the way (see `_Adding`). The weights are made from masks when the network uses them, and held
    only by code that looks at all of them, so a large network is not copied.
    """

    def __init__(self, model: nn.Module, shape: Shape) -> None:
        weights = {id(weight) for weight in prunable(model).values()}
        self.network = with_tensors(model, lambda t: _without_values(t) if id(t) in weights else _positive(t))
        self.weights = prunable(self.network)
        tensors = dict([*self.network.named_parameters(), *self.network.named_buffers()])
        constants = {name: tensor for name, tensor in tensors.items() if name not in self.weights}
        for name, tensor in constants.items():
            if name.endswith(("bias", "running_mean")):
                tensor.zero_()
        self.constants = Storages(constants)
        self.images = 0.5 + torch.linspace(0, 1, math.prod(shape)).view(1, *shape).to(like_parameters(self.network, 1))

    def reaches(self, masks: Masks) -> bool:
        """Whether anything arrives through the kept weights."""
        return bool(self.logits(masks).sum() > 0)

    def arrives(self, masks: Masks) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The input and output channels of every used weight that a signal reaches: bool, by name.

        Tensors that the network adds itself, such as position embeddings, count as a signal, and so does NaN.
        """
        weights = self._made(masks)
        ends = Ends(weights, lambda channels: (channels != 0).any(1))
        with ends:
            self._run(weights.__getitem__, constants=True)
        return ends.inputs, ends.outputs

    def on_paths(self, masks: Masks) -> dict[str, Tensor]:
        """Which kept weights are on a path: bool by name."""
        weights = self._made(masks)
        found = torch.autograd.grad(
            self._run(weights.__getitem__).sum(), list(weights.values()), allow_unused=True, materialize_grads=True
        )
        return {name: (g * w.detach()) > 0 for (name, w), g in zip(weights.items(), found, strict=True)}

    def logits(self, masks: Masks) -> Tensor:
        """What arrives at each output, (1, classes), without tensors that the network adds itself."""
        with saved_tensors_hooks(lambda tensor: None, lambda nothing: nothing):  # autograd would hold every weight
            return self._run(lambda name: self._weight(name, masks)).detach()

    def _made(self, masks: Masks) -> dict[str, Tensor]:
        """All weights."""
        return {name: self._weight(name, masks) for name in self.weights}

    def _weight(self, name: str, masks: Masks) -> Tensor:
        """A weight that averages its kept inputs, made in a graph; a leaf would be held by everything that follows."""
        like = self.weights[name]
        made = masks.of(name, like).to(like.device, like.dtype, copy=True)
        inputs = made.flatten(1).sum(1).clamp_min(1)
        made.div_(inputs.view(-1, *[1] * (made.ndim - 1)))
        with torch.enable_grad():
            return made.add_(made.new_zeros(()).requires_grad_())

    def _run(self, weight: Callable[[str], Tensor], constants: bool = False) -> Tensor:
        """The outputs with the weights of these names, with or without tensors that the network adds itself."""
        device = self.images.device
        without_amp = torch.autocast(device.type, enabled=False)
        adding, filling = _Adding(Storages({}) if constants else self.constants), _Filling(self.weights, weight)
        with forked(device), evaluating(self.network), without_amp, torch.enable_grad(), adding, filling:
            arrives: Tensor = self.network(self.images.clone())
        return arrives


class Ends(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records for which channels, before and after each weight, a predicate is true in any run.

    `true` takes the values in some channels, (channels, n), and returns bool, (channels,).
    """

    def __init__(self, weights: Mapping[str, Tensor], true: Callable[[Tensor], Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights, self.true = Storages(weights), true
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self.bordered: set[str] = set()
        """Convolutions that read or write less at the borders of an image."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and record its inputs and outputs."""
        out, product = func(*args, **(kwargs or {})), weight_product(func, args, self.weights)
        if product is not None:
            for ends, tensor in ((self.inputs, product.taken), (self.outputs, out)):
                found = self.true(tensor.detach().movedim(product.axis, 0).flatten(1))
                ends[product.name] = found | ends.get(product.name, found)
            if product.convolves and (any(args[_PADDING]) or args[_TRANSPOSED]):
                self.bordered.add(product.name)
        return out


class _Filling(TorchFunctionMode):
    """Passes the values of weights to functions instead of tensors that have none."""

    def __init__(self, empty: Mapping[str, Tensor], weight: Callable[[str], Tensor]) -> None:
        super().__init__()
        self.names, self.weight = {id(tensor): name for name, tensor in empty.items()}, weight

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function; one that reads a property, such as the shape, needs no values."""
        given = (args, kwargs or {})
        if any(id(leaf) in self.names for leaf in tree_leaves(given)):
            if func.__name__ == "__get__" and not isinstance(found := func(*args), Tensor):
                return found
            given = tree_map(lambda leaf: self.weight(self.names[id(leaf)]) if id(leaf) in self.names else leaf, given)
        return func(*given[0], **given[1])


class _Adding(TorchFunctionMode):
    """Runs a network so that a signal from the image is never cancelled.

    The difference of two tensors that depend on the image becomes a sum. Norms over the image, which would be zero for
    equal values, return the mean of their input everywhere instead, since each of their outputs depends on all their
    inputs. Convolutions, linear layers and norms with their own statistics return at most 0.75, per channel, so that no
    depth or variance makes values too large or too small, and activations pass them on. Arithmetic on constants, such
    as masks and coordinates, does not change; but `constants` that are added or concatenated are zero.
    """

    def __init__(self, constants: Storages) -> None:
        super().__init__()
        self.constants = constants

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, or its replacement if it reads the output of a weight."""
        reads = args[:2] if func in _DIFFERENCES else args[:1]
        run = _INSTEAD.get(func, func) if reads and all(map(_made, reads)) else func
        if func in _SUMS and any(map(_made, tree_leaves(args))):
            args = tree_map(
                lambda value: value if self.constants.name(value) is None else torch.zeros_like(value), args
            )
        return run(*args, **(kwargs or {}))


def _made(value: Any) -> bool:
    """Whether a value depends on the output of a weight."""
    return isinstance(value, Tensor) and value.requires_grad


def _sum(first: Tensor, other: Tensor, *, alpha: float = 1) -> Tensor:
    return torch.add(first, other.abs(), alpha=abs(alpha))


def _sum_(first: Tensor, other: Tensor, *, alpha: float = 1) -> Tensor:
    return first.add_(other.abs(), alpha=abs(alpha))


def _logits(value: Tensor, *_: Any, dtype: torch.dtype | None = None, **__: Any) -> Tensor:
    return value.to(value.dtype if dtype is None else dtype)


def _level(layer: Callable[..., Tensor], axis: int = 1) -> Callable[..., Tensor]:
    """A layer with outputs of at most 0.75, in each channel that a signal reaches; its gradient is a share."""

    def instead(*args: Any, **kwargs: Any) -> Tensor:
        given = layer(*args, **kwargs)
        others = [i for i in range(given.ndim) if i != axis % given.ndim]
        size = given.detach().abs().amax(others, keepdim=True)
        return 0.75 * given / size.masked_fill(size == 0, 1)

    return instead


def _spread(value: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The mean of the values above zero along some axes, at every position."""
    there = (value > 0).sum(axes, keepdim=True).clamp_min(1)
    return (value.sum(axes, keepdim=True) / there).expand_as(value).clone()  # the copy may be written to


def _by_channel(value: Tensor, factors: Tensor | None) -> Tensor:
    return value if factors is None else value * factors.view(-1, *[1] * (value.ndim - 2))


def _layer_norm(value: Tensor, normalized_shape: Any, *, weight: Tensor | None = None, **_: Any) -> Tensor:
    spread = _spread(value, tuple(range(-len(normalized_shape), 0)))
    return spread if weight is None else spread * weight


def _group_norm(value: Tensor, num_groups: int, *, weight: Tensor | None = None, **_: Any) -> Tensor:
    return _by_channel(_spread(value.reshape(len(value), num_groups, -1), (2,)).reshape(value.shape), weight)


def _own_or_taken(norm: Callable[..., Tensor], taken: str, *axes: int) -> Callable[..., Tensor]:
    """A norm of channels: unchanged with its own statistics, or with those `taken` of its input (also along `axes`)."""

    def instead(value: Tensor, *statistics: Any, **options: Any) -> Tensor:
        if not options[taken]:
            return _level(norm)(value, *statistics, **options)
        return _by_channel(_spread(value, (*axes, *range(2, value.ndim))), options["weight"])

    return instead


_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
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
    F.linear: _level(F.linear, axis=-1),
    **{layer: _level(layer) for layer in _CONVOLUTIONS},
    F.layer_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.instance_norm: _own_or_taken(F.instance_norm, "use_input_stats"),
    F.batch_norm: _own_or_taken(F.batch_norm, "training", 0),
}
"""Replacements of functions that a network calls; norms are called as `torch.overrides` passes them on."""


def _without_values(tensor: Tensor) -> Tensor:
    """A parameter of the same shape, of at least 32 bits, that takes no memory."""
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    return nn.Parameter(torch.zeros((), dtype=dtype, device=tensor.device).expand(tensor.shape))


def _positive(tensor: Tensor) -> Tensor:
    """A copy of |t|, of at least 32 bits; zeros of parameters, which training moves, become 1. Integers are kept."""
    if not tensor.is_floating_point():
        return tensor.detach().clone()
    made = tensor.detach().abs().to(torch.promote_types(tensor.dtype, torch.float32))
    return made.masked_fill_(made == 0, 1) if isinstance(tensor, nn.Parameter) else made
