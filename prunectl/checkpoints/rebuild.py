"""Checks that a file can hold a network: builds it again, fills it with its state dict, and compares."""

from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint, to_header
from prunectl.checkpoints.network import network
from prunectl.errors import OptionError, PrunectlError
from prunectl.plugins.places import known
from prunectl.torchtools.contexts import evaluating
from prunectl.torchtools.copies import like_parameters, with_tensors
from prunectl.torchtools.held import first_difference, held_outside_state, same_tensor
from prunectl.torchtools.rng import random_states_kept, seed_all_
from prunectl.torchtools.storages import Storages

_SEEDS = (1, 119)
"""Two seeds: the first number of each generator is in the lower half for one, in the upper half for the other."""


def check_rebuilds(checkpoint: Checkpoint) -> None:
    """Refuse a network that could not be rebuilt from its file; called before a long training.

    It is built twice as from a file, with different random numbers. Whatever the state dict does not hold must be the
    same both times, and the outputs must equal those of the network itself.

    Raises:
        OptionError: names the attribute that no file holds, or the error of the constructor.
    """
    what = f"model {checkpoint.spec.name}"
    state = _stored(checkpoint.model, what)
    one, other = (_rebuilt(checkpoint, state, seed, what) for seed in _SEEDS)
    shared = {id(module) for module in one.modules()} & {id(module) for module in other.modules()}
    if shared or any(id(module) in map(id, one.modules()) for module in checkpoint.model.modules()):
        raise OptionError(f"{what} returns the same module at every call; build a new one at each call")
    kinds = [[f"{type(module).__qualname__} at {name}" for name, module in net.named_modules()] for net in (one, other)]
    for kind, found in zip(*kinds, strict=False):
        if kind != found:
            raise OptionError(
                f"{what} has a {kind} or a {found} at random: choose layers by an option (-M), not by random numbers"
            )
    difference = first_difference(one, other)
    if difference is not None:
        raise OptionError(f"{what} is built with a different {_advice(*difference)}")
    _check_views(checkpoint.model, what)
    if not _same_outputs(checkpoint, one, what):
        raise OptionError(
            f"{what}, built again and filled with its state_dict, computes something else: values that its constructor "
            "draws or computes from the first weights are not saved; keep them with register_buffer(name, tensor)"
        )


def _stored(model: nn.Module, what: str) -> dict[str, Tensor]:
    """The state dict, its buffers copied.

    Raises:
        OptionError: it has something that a file cannot hold.
    """
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):
            raise OptionError(
                f"the state_dict of {what} holds a {type(value).__name__} at {name}; a file holds only tensors: "
                "use register_buffer(name, tensor) instead of get_extra_state"
            )
        if not _storable(value):
            raise OptionError(
                f"{what} holds {name} as {str(value.dtype).removeprefix('torch.')}, {value.layout}; a safetensors file "
                "holds only dense tensors: keep indices and values in two buffers"
            )
        state[name] = value.detach() if isinstance(value, nn.Parameter) else value.detach().clone()
    return state


def _storable(value: Tensor) -> bool:
    """Whether safetensors has the type and layout of a tensor."""
    if value.layout is not torch.strided:
        return False
    try:
        save({"": torch.empty(0, dtype=value.dtype)})
    except (KeyError, RuntimeError, SafetensorError, ValueError):
        return False
    return True


def _rebuilt(checkpoint: Checkpoint, state: dict[str, Tensor], seed: int, what: str) -> nn.Module:
    with random_states_kept():
        seed_all_(seed)
        try:
            with known(checkpoint.places):
                return network(to_header(checkpoint, None), dict(state), what, checkpoint.builder)
        except PrunectlError as error:
            raise OptionError(f"a checkpoint of this network could not be read again: {error}") from error


def _advice(path: str, value: Any) -> str:
    """What to do with an attribute that is not saved."""
    owner, _, name = path.rpartition(".")
    place = f"in layer {owner}" if owner else "in its constructor"
    if isinstance(value, Tensor):
        return f"{path} each time, and it is not saved: write self.register_buffer({name!r}, tensor) {place}"
    return (
        f"{path} each time, and it is not saved: choose it by an option (-M), or keep it in a tensor with "
        f"self.register_buffer({name!r}, torch.tensor(value)) {place}"
    )


def _check_views(model: nn.Module, what: str) -> None:
    """Refuse attributes that share a parameter's memory: they would not follow copies of the network."""
    registered = dict([*model.named_parameters(), *model.named_buffers()])
    storages, themselves = Storages(registered), set(map(id, registered.values()))
    for path, value in held_outside_state(model).items():
        owner = None if id(value) in themselves else storages.name(value)
        if owner is not None:
            raise OptionError(
                f"{what} holds {path}, which shares the memory of {owner} and would keep the old values when that "
                "changes: compute it in the forward pass"
            )


def _same_outputs(checkpoint: Checkpoint, rebuilt: nn.Module, what: str) -> bool:
    """Whether both networks compute the same for random images; True if the network itself is not deterministic."""
    own = checkpoint.model
    images = like_parameters(own, 2, *checkpoint.spec.input)
    images.copy_(torch.randn(images.shape, generator=torch.Generator().manual_seed(0)))
    try:
        expected, found = _outputs(own, images), _outputs(rebuilt, images)
        return same_tensor(expected, found) or not same_tensor(expected, _outputs(own, images))
    except Exception as error:  # the network's own code may raise anything
        text = str(error).strip().partition("\n")[0] or type(error).__name__
        raise OptionError(f"{what} fails on images of {tuple(images.shape)}: {text}") from error


def _outputs(model: nn.Module, images: Tensor) -> Tensor:
    """The logits of a copy in eval mode, which shares its parameters."""
    copied = with_tensors(model, lambda t: t.detach() if isinstance(t, nn.Parameter) else t.detach().clone())
    with random_states_kept(), evaluating(copied), torch.no_grad():
        seed_all_(0)
        return copied(images)  # type: ignore[no-any-return]
