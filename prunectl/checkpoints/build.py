"""The dense network of a checkpoint: built by the name in its header, or by what the user hands over."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from prunectl.checkpoints.header import ModelSpec
from prunectl.errors import CheckpointError, OptionError, UnknownName
from prunectl.plugins.options import keyword_options
from prunectl.plugins.registry import resolve

OWN = "class:"
"""Begins the name of a network that came in as an `nn.Module`: `class:package.module.Class`."""
Builder = str | nn.Module | Callable[..., nn.Module]
"""`file.py:build`, a network, or a class or function that takes nothing, or the image's shape and the classes."""


def build(spec: ModelSpec) -> nn.Module:
    """Build the dense network of a spec, with fresh weights on torch's current default device."""
    builder = resolve("model", spec.name)
    options = keyword_options(builder, {k: str(v) for k, v in spec.options.items()}, f"model {spec.name}")
    try:
        inspect.signature(builder).bind(spec.input, spec.classes, **options)
    except TypeError as error:
        raise OptionError(
            f"model {spec.name} is called with the shape (C, H, W) of an image and the number of classes: {error}"
        ) from error
    return _checked(builder(spec.input, spec.classes, **options), f"model {spec.name}")


def builder_of(model: Builder, spec: ModelSpec) -> Callable[[], nn.Module]:
    """What builds the dense network of a spec, from what the user hands over.

    Raises:
        OptionError: it takes other arguments than none, or (shape, classes).
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
            f"`model` {name} is called with nothing, or with the shape (C, H, W) of an image and the number of "
            f"classes: {error}; hand over a function that builds the network, such as lambda: {name}(...)"
        ) from error
    return lambda: _checked(model(*arguments), f"model {name}")


def check_buildable(spec: ModelSpec, where: str) -> None:
    """Refuse to build a network that no name builds.

    Raises:
        CheckpointError: it came in as an `nn.Module`.
    """
    if spec.name.startswith(OWN):
        own = spec.name.removeprefix(OWN)
        raise CheckpointError(
            f"{where} holds a network of the class {own}, which a file cannot build: load it in Python with "
            f"prunectl.load(path, model={own.rpartition('.')[2]}), or save it with model='file.py:build'"
        )


def check_readable(spec: ModelSpec) -> None:
    """Refuse to write a network that nothing could build again.

    Raises:
        CheckpointError: nothing has the name that it goes by.
    """
    if spec.name.startswith(OWN):
        return
    try:
        resolve("model", spec.name)
    except UnknownName as error:
        raise CheckpointError(f"a file of this network could not be read again: {error}") from error


def _required(model: Callable[..., nn.Module]) -> int:
    """How many arguments have to be given."""
    parameters = inspect.signature(model).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.default is inspect.Parameter.empty and p.kind in positional for p in parameters)


def _checked(module: Any, what: str) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise OptionError(f"{what} makes a {type(module).__name__}, expected a torch.nn.Module")
    return module
