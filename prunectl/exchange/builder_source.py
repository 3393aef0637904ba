"""Python source that builds a dense network without prunectl."""

import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunectl.checkpoints.build import OWN, arguments_of
from prunectl.checkpoints.header import ModelSpec
from prunectl.errors import StructureError
from prunectl.plugins.places import placed
from prunectl.plugins.registry import TABLES, resolve

Source = tuple[list[str], str]
"""The imports and statements to run first, and the expression that builds the network."""
_OURS = re.compile(r"^\s*(?:import|from)\s+prunectl\b", re.MULTILINE)


def builder_source(spec: ModelSpec, path: Path) -> Source:
    """The source with which a program at `path` builds the network of a spec.

    Raises:
        StructureError: only prunectl can build it.
    """
    library, _, short = spec.name.partition("/")
    if library == "torchvision":
        return _torchvision(short, spec)
    if library == "timm":
        return _timm(short, spec)
    if library == "transformers":
        raise StructureError(f"{spec.name} returns its logits in a record; export NAME.onnx, NAME.pt2 or a folder")
    if spec.name.startswith(OWN):
        raise StructureError(
            f"the file does not name a function that builds {spec.name.removeprefix(OWN)}: save it with "
            "model='file.py:build', or export NAME.onnx or NAME.pt2"
        )
    if spec.name in TABLES["model"]:
        raise StructureError(f"no library other than prunectl has {spec.name}; export NAME.onnx or NAME.pt2")
    return _own(spec, path)


def _torchvision(name: str, spec: ModelSpec) -> Source:
    from prunectl.models.torchvision import defaults  # noqa: PLC0415  (it takes seconds to import)

    options = {"num_classes": spec.classes, **defaults(name, spec.input), **spec.options}
    return ["from torchvision.models import get_model"], _call("get_model", (name,), options)


def _timm(name: str, spec: ModelSpec) -> Source:
    import timm  # noqa: PLC0415

    channels, height, width = spec.input
    options = {"num_classes": spec.classes, **({} if channels == 3 else {"in_chans": channels}), **spec.options}
    sized = {**options, "img_size": height if height == width else (height, width)}
    try:
        with torch.device("meta"):
            timm.create_model(name, **sized)
        options = sized
    except TypeError:  # a network for any size
        pass
    return ["from timm import create_model"], _call("create_model", (name,), options)


def _own(spec: ModelSpec, path: Path) -> Source:
    """The user's own function: in a file, a package, or behind an entry point."""
    builder: Callable[..., nn.Module] = resolve("model", spec.name)
    place, _, name = placed(spec.name).rpartition(":")
    module = sys.modules.get(builder.__module__)
    if module is not None and _imports_us(module):
        raise StructureError(
            f"{spec.name} imports prunectl, so its loader would need prunectl; export NAME.onnx or NAME.pt2"
        )
    arguments = arguments_of(builder, spec)
    if place.endswith(".py"):
        file = Path(place) if Path(place).is_file() else Path(str(inspect.getsourcefile(builder)))
        beside = os.path.relpath(file.resolve(), path.absolute().parent)
        stem, relative = json.dumps(file.stem), json.dumps(beside)
        lines = [
            "import importlib.util",
            f"_spec = importlib.util.spec_from_file_location({stem}, Path(__file__).parent / {relative})",
            "own = importlib.util.module_from_spec(_spec)",
            "_spec.loader.exec_module(own)",
        ]
        return lines, _call(f"own.{name}", arguments, spec.options)
    where, name = (place, name) if place else (builder.__module__, builder.__name__)
    return [f"from {where} import {name}"], _call(name, arguments, spec.options)


def _imports_us(module: Any) -> bool:
    if module.__name__.partition(".")[0] == "prunectl":
        return True
    try:
        return bool(_OURS.search(inspect.getsource(module)))
    except (OSError, TypeError):  # no source
        return False


def _call(name: str, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> str:
    parts = [*(repr(value) for value in arguments), *(f"{key}={value!r}" for key, value in options.items())]
    return f"{name}({', '.join(parts)})"
