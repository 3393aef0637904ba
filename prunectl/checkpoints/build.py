"""Builds the dense network of a checkpoint, by the name in its header or with a builder of the user."""

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from prunectl.checkpoints.bounds import bounded
from prunectl.checkpoints.header import ModelSpec
from prunectl.errors import CheckpointError, OptionError, TooLarge, UnknownName
from prunectl.plugins.options import keyword_options
from prunectl.plugins.registry import resolve
from prunectl.torchtools.contexts import evaluating
from prunectl.torchtools.held import held_outside_state
from prunectl.torchtools.rng import random_states_kept

OWN = "class:"
"""Prefix of the name of a network that was passed as an `nn.Module`: `class:package.module.Class`."""
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
Builder = str | nn.Module | Callable[..., nn.Module]
"""`file.py:build`, a network, or a class or function that takes no arguments, or the image's shape and the classes."""


def build(spec: ModelSpec) -> nn.Module:
    """Build the dense network of a spec, with fresh weights on torch's current default device."""
    builder = resolve("model", spec.name)
    options = keyword_options(builder, {k: str(v) for k, v in spec.options.items()}, f"model {spec.name}")
    arguments = arguments_of(builder, spec)
    try:
        inspect.signature(builder).bind(*arguments, **options)
    except TypeError as error:
        raise OptionError(
            f"model {spec.name} must take the shape (C, H, W) of an image and the number of classes: {error}"
        ) from error
    with bounded(f"model {spec.name}"):
        made = _checked(builder(*arguments, **options), f"model {spec.name}")
        return _materialised(made, spec)


def arguments_of(builder: Callable[..., nn.Module], spec: ModelSpec) -> tuple[Any, ...]:
    """The arguments of a builder: an image's shape (C, H, W) and the classes, or none.

    A class whose constructor needs no argument gets none, unless its first default is a shape or None.
    """
    if inspect.isclass(builder) and not _required(builder):
        positional = [p for p in inspect.signature(builder).parameters.values() if p.kind in _POSITIONAL]
        if len(positional) < 2 or not isinstance(positional[0].default, tuple | list | None):
            return ()
    return spec.input, spec.classes


def built_aside(make: Callable[[], nn.Module]) -> nn.Module:
    """Call a builder on the cpu; keep the random states, and suppress warnings about copies to `meta`."""
    with random_states_kept(), _quiet_copies(), torch.device("cpu"):
        return make()


def built_on_meta(make: Callable[[], nn.Module]) -> nn.Module | None:
    """Call a builder on the meta device, which takes neither time nor memory.

    Returns None if the constructor needs values: it then fails, or turns a tensor into text.
    """
    looking = _Looking()
    try:
        with random_states_kept(), _quiet_copies(), torch.device("meta"), looking:
            model = make()
    except TooLarge:
        raise
    except Exception:  # noqa: BLE001  (a constructor may raise anything if tensors have no values)
        return None
    return None if looking.found else model


def is_complete(model: nn.Module) -> bool:
    """Whether only tensors in the state dict are on the meta device."""
    outside = held_outside_state(model).values()
    return not any(isinstance(value, Tensor) and value.is_meta for value in outside)


class _Looking(TorchFunctionMode):
    """Records whether code turns tensors into text, or catches an error on one."""

    found = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found |= func in (Tensor.__repr__, Tensor.__format__)
        try:
            return func(*args, **(kwargs or {}))
        except Exception:
            self.found = True
            raise


@contextmanager
def _quiet_copies() -> Iterator[None]:
    """Suppress torch's warnings about tensors that a constructor loads into parameters on the meta device."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"(?s).*copying from a non-meta parameter", UserWarning)
        yield


def builder_of(model: Builder, spec: ModelSpec) -> Callable[[], nn.Module]:
    """A function that builds the dense network of a spec with the user's builder.

    Raises:
        OptionError: it takes arguments other than (shape, classes).
    """
    if isinstance(model, str):
        named = replace(spec, name=model)
        return lambda: build(named)
    if isinstance(model, nn.Module):
        return lambda: copy.deepcopy(model).cpu()
    arguments: tuple[Any, ...] = (spec.input, spec.classes) if _required(model) else ()
    name = getattr(model, "__name__", type(model).__name__)
    try:
        inspect.signature(model).bind(*arguments)
    except TypeError as error:
        raise OptionError(
            f"`model` {name} must take no arguments, or the shape (C, H, W) of an image and the number of classes: "
            f"{error}; pass a function that builds the network, such as lambda: {name}(...)"
        ) from error

    def made() -> nn.Module:
        with bounded(f"model {name}"):
            return _materialised(_checked(model(*arguments), f"model {name}"), spec)

    return made


def check_buildable(spec: ModelSpec, where: str) -> None:
    """Refuse to build a network that has no builder's name.

    Raises:
        CheckpointError: it was passed as an `nn.Module`.
    """
    if spec.name.startswith(OWN):
        own = spec.name.removeprefix(OWN)
        raise CheckpointError(
            f"{where} holds a network of class {own}, which cannot be built from a file: load it in Python with "
            f"prunectl.load(path, model={own.rpartition('.')[2]}), or save it with model='file.py:build'"
        )


def check_readable(spec: ModelSpec) -> None:
    """Refuse to write a network that could not be built again.

    Raises:
        CheckpointError: its name is that of no builder.
    """
    if spec.name.startswith(OWN):
        return
    try:
        resolve("model", spec.name)
    except UnknownName as error:
        raise CheckpointError(f"a checkpoint of this network could not be read again: {error}") from error


def _required(model: Callable[..., Any]) -> int:
    """The number of required arguments."""
    parameters = inspect.signature(model).parameters.values()
    return sum(p.default is inspect.Parameter.empty and p.kind in _POSITIONAL for p in parameters)


def _checked(module: Any, what: str) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise OptionError(f"{what} returns a {type(module).__name__}, expected a torch.nn.Module")
    return module


def _materialised(model: nn.Module, spec: ModelSpec) -> nn.Module:
    """The same network; lazy layers (nn.LazyLinear) take their sizes from a blank image."""
    tensors = [*model.parameters(), *model.buffers()]
    if any(is_lazy(tensor) for tensor in tensors):
        with evaluating(model), torch.no_grad():
            model(torch.zeros(1, *spec.input, dtype=tensors[0].dtype))
    return model
