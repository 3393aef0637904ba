"""Resizes modules to the shapes of a file, so that a shrunk network loads into the code of the dense one."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from prunectl.errors import CheckpointError
from prunectl.torchtools.contexts import evaluating
from prunectl.torchtools.pieces import all_finite


def load_state_(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load `state` into the network's parameters and buffers, and resize the modules to its shapes.

    Tensors that fit are filled, because other attributes may share their memory; others are replaced.

    Raises:
        CheckpointError: keys are missing or unknown.
    """
    own = dict(_named_tensors(model))
    tied = _tied(model)
    expected = set(model.state_dict())
    if expected != set(state):
        missing, extra = sorted(expected - set(state)), sorted(set(state) - expected)
        raise CheckpointError(
            f"{where} does not fit the network that its header names: "
            f"missing {missing[:3] or 'nothing'}, unknown {extra[:3] or 'nothing'}"
        )
    for name, tensor in state.items():
        if name in own and own[name].shape != tensor.shape:
            set_tensor_(model, name, torch.empty_like(tensor, device="meta"))
    versioned = OrderedDict((name, _placed(own.get(name), tensor)) for name, tensor in state.items())
    versioned._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(versioned, assign=True)
    for name, first in tied.items():
        set_tensor_(model, name, model.get_parameter(first))
    set_widths_(model)


def _placed(own: Tensor | None, value: Tensor) -> Tensor:
    """The network's own tensor, filled; or a new one in its memory format if it has no memory or does not fit."""
    if own is None or (own.shape, own.dtype) != (value.shape, value.dtype):
        return value
    if own.device == value.device:
        with torch.no_grad():
            return own.copy_(value)
    return value if own.stride() == value.stride() else torch.empty_like(own, device=value.device).copy_(value)


def check_tensors(model: nn.Module, state: Mapping[str, Tensor], kept: Mapping[tuple[str, int], Tensor]) -> None:
    """Compare parameters and norm statistics in a file with those of the dense network, cut to `kept`.

    Other buffers are not checked: the network may resize them, or keep infinities in them.

    Raises:
        CheckpointError: wrong type or shape, or numbers that are not finite.
    """
    norms = [f"{name}." for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    own: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    own |= {name: buffer for name, buffer in model.named_buffers() if name.startswith(tuple(norms))}
    for name in [name for name in own if name in state]:  # in the network's order, for a reproducible error
        tensor, shape = state[name], [*own[name].shape]
        shape = [len(kept.get((name, axis), range(length))) for axis, length in enumerate(shape)]
        if (own[name].dtype, shape) != (tensor.dtype, [*tensor.shape]):
            found, expected = _described(tensor.dtype, tensor.shape), _described(own[name].dtype, shape)
            how = "use the file as prunectl wrote it"
            if own[name].dtype != tensor.dtype:
                how += f", or build the network in its type: .to({tensor.dtype})"
            raise CheckpointError(f"{name} is {found}, expected {expected}; {how}")
        if tensor.is_floating_point() and not all_finite(tensor):
            raise CheckpointError(f"{name} has values that are not finite; use an earlier file")


def _described(dtype: torch.dtype, shape: Sequence[int]) -> str:
    return f"{str(dtype).removeprefix('torch.')} {'x'.join(map(str, shape)) or 'scalar'}"


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers under every name that they have."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _tied(model: nn.Module) -> dict[str, str]:
    """The additional names of tied parameters, each with the first name."""
    first: dict[int, str] = {}
    named = model.named_parameters(remove_duplicate=False)
    return {name: first[id(p)] for name, p in named if first.setdefault(id(p), name) != name}


def set_tensor_(model: nn.Module, name: str, value: Tensor) -> None:
    """Replace one parameter or buffer by name."""
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    if leaf in module._parameters:
        before = module._parameters[leaf]
        trained = value.is_floating_point() and (before is None or before.requires_grad)
        module._parameters[leaf] = value if isinstance(value, nn.Parameter) else nn.Parameter(value, trained)
    else:
        module._buffers[leaf] = value


def set_widths_(model: nn.Module) -> None:
    """Set the width attributes of all layers to the sizes of their tensors."""
    with evaluating(model), torch.no_grad():  # reading a weight may change buffers of a parametrisation
        for module in model.modules():
            for attribute, width in _widths(module):
                setattr(module, attribute, width)


def _widths(module: nn.Module) -> Iterator[tuple[str, int]]:
    """The width attributes of a layer, as its tensors have them; none if its tensors are elsewhere."""
    if isinstance(module, nn.modules.batchnorm._NormBase):
        if (mean := getattr(module, "running_mean", None)) is not None:
            yield "num_features", mean.shape[0]
    elif isinstance(module, nn.Linear | nn.modules.conv._ConvNd) and getattr(module, "weight", None) is not None:
        first, second = module.weight.shape[:2]
        if isinstance(module, nn.Linear):
            yield from (("out_features", first), ("in_features", second))
        elif module.transposed:
            yield from (("in_channels", first), ("out_channels", second * module.groups))
        else:
            yield from (("out_channels", first), ("in_channels", second * module.groups))
