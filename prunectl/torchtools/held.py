"""Finds what a network holds outside its state dict: tensors and numbers in attributes, containers and closures."""

import sys
import types
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

Leaf = Tensor | np.ndarray | np.generic | int | float | complex
_MISSING = object()


def held_outside_state(model: nn.Module) -> dict[str, Any]:
    """Tensors, arrays and numbers by their path (`layers.0.scale`, `masks[1]`): all but parameters and stored buffers.

    A parameter that is also in a list is included. Text is left out: it may name a run or a time, and does not affect
    the outputs.
    """
    return {path: value for path, value in _walk("", model, set()) if isinstance(value, Leaf)}


def _walk(path: str, value: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Every value below this one, once; but numbers at every place, since they may be the same object."""
    if isinstance(value, int | float | complex | np.generic):
        yield path, value
        return
    if id(value) in seen or isinstance(value, str | bytes | type | types.ModuleType):
        return
    seen.add(id(value))
    yield path, value
    for part, inner in _parts(value):
        yield from _walk(f"{path}{part}".removeprefix("."), inner, seen)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a value, with the text of the path to each."""
    if isinstance(value, Tensor | np.ndarray):
        return
    if isinstance(value, nn.Module):
        own = vars(value)
        yield from ((f".{key}", own["_buffers"][key]) for key in own["_non_persistent_buffers_set"])
        yield from ((f".{key}", inner) for key, inner in own["_modules"].items())
        plain = {key: inner for key, inner in own.items() if key not in _BOOKKEEPING}
        yield from ((f".{key}", inner) for key, inner in plain.items())
    elif isinstance(value, dict):  # by position: numeric keys may be counters, as for hooks
        keys = [key if isinstance(key, str) else i for i, key in enumerate(value)]
        yield from ((f"[{key!r}]", inner) for key, inner in zip(keys, value.values(), strict=True))
    elif isinstance(value, list | tuple | deque | set | frozenset):
        yield from ((f"[{i}]", inner) for i, inner in enumerate(value))
    elif isinstance(value, types.FunctionType):
        names = value.__code__.co_freevars
        for name, cell in zip(names, value.__closure__ or (), strict=True):
            yield f".{name}", _contents(cell)
        yield from ((f".{i}", inner) for i, inner in enumerate(value.__defaults__ or ()))
        yield from ((f".{key}", inner) for key, inner in (value.__kwdefaults__ or {}).items())
    elif isinstance(value, types.MethodType):
        yield from ((".__self__", value.__self__), ("", value.__func__))
    elif isinstance(value, partial):
        yield from (("", value.func), (".args", value.args), (".keywords", value.keywords))
    elif type(value).__module__.partition(".")[0] not in sys.stdlib_module_names or _is_namespace(value):
        yield from ((f".{key}", inner) for key, inner in getattr(value, "__dict__", {}).items())


_BOOKKEEPING = {"training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_flat_weights"}
"""Internal attributes of modules; recurrent layers update `_flat_weights` whenever a parameter is set."""


def _is_namespace(value: Any) -> bool:
    return isinstance(value, types.SimpleNamespace) or type(value).__module__ == "__main__"


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return None


def first_difference(one: nn.Module, other: nn.Module) -> tuple[str, Any] | None:
    """The path of the first value outside the state dict that differs between two networks, and the value in `one`."""
    ours, theirs = held_outside_state(one), held_outside_state(other)
    for path in [*ours, *(path for path in theirs if path not in ours)]:
        if not _same(ours.get(path, _MISSING), theirs.get(path, _MISSING)):
            return path, ours.get(path, theirs.get(path))
    return None


def _same(one: Any, other: Any) -> bool:
    """Whether two values have the same type and are equal to the bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return same_tensor(one, other)
    if isinstance(one, np.ndarray):
        fits = one.dtype == other.dtype and one.shape == other.shape
        return bool(fits and (one.dtype.hasobject or one.tobytes() == other.tobytes()))
    return bool(one == other) or bool(np.isnan(one) and np.isnan(other))


def same_tensor(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same type, shape and values; nan equals nan."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    one, other = one.detach().cpu(), other.detach().cpu()
    return bool(((one == other) | (one.isnan() & other.isnan())).all())
