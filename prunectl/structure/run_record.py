"""Records what a network does in a run without values: two networks with one record have the same graph."""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_map, tree_unflatten

from prunectl.torchtools.copies import with_tensors
from prunectl.torchtools.digest import digest
from prunectl.torchtools.rng import random_states_kept

_PLAIN = int | float | complex | str | torch.dtype | torch.device | torch.layout | torch.memory_format | None
_LONGEST = 10**6
"""Most entries of a constant whose values are compared; with longer ones, no record is made."""

_Kind = tuple[torch.Size, tuple[int, ...], torch.dtype]
_results: dict[tuple[Any, str], tuple[list[_Kind], TreeSpec]] = {}
"""Cached results of operations on the meta device: computing them takes torch a millisecond for a BatchNorm."""


def record(model: nn.Module, shape: tuple[int, int, int], *, training: bool, batches: tuple[int, ...]) -> str | None:
    """A hash of all operations on images (B, C, H, W) for some batch sizes; None if something cannot be recorded.

    It covers the names, shapes and types of parameters and buffers, every operation with its arguments, the origin of
    its inputs, the module that calls it, and the values of constants. The network runs on the meta device, so its code
    cannot branch on other values, and the record does not depend on the parameters' values.
    """
    try:
        with random_states_kept():
            copied = with_tensors(model, _without_values).train(training)
            like = next((p for p in copied.parameters() if p.is_floating_point()), torch.empty(0))
            run = _Record(copied, [str(torch.get_default_dtype()), str(next(model.parameters(), like).is_meta)])
            for batch in batches:
                run.add(copied, torch.empty(batch, *shape, dtype=like.dtype, device="meta"))
    except Exception:  # noqa: BLE001  (the network's own code may raise anything; the export reports it)
        return None
    return None if run.opaque else run.text.hexdigest()


def _without_values(tensor: Tensor) -> Tensor:
    """The same on the meta device."""
    values = tensor.detach().to("meta")
    return nn.Parameter(values, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values


class _Record(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hashes operations as they run. `opaque` says that an argument was neither plain nor made by a recorded one."""

    def __init__(self, model: nn.Module, start: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.text, self.opaque = hashlib.sha256(), False
        self.numbers: dict[int, int] = {}
        self.seen: list[Tensor] = []
        """Kept alive, so that no other tensor gets one of their identities."""
        self.note(*start)
        for name, tensor in (
            *model.named_parameters(remove_duplicate=False),
            *model.named_buffers(remove_duplicate=False),
        ):
            kind = (isinstance(tensor, nn.Parameter), tensor.requires_grad, tensor.dtype, tensor.shape, tensor.stride())
            self.note(name, self.number(tensor), kind)
        for path, module in model.named_modules():
            module.register_forward_pre_hook(lambda _module, _inputs, path=path: self.note("enter", path))
            module.register_forward_hook(lambda _module, _inputs, _outputs: self.note("leave"))

    def add(self, model: nn.Module, images: Tensor) -> None:
        """Record one run."""
        self.note("images", self.number(images), images.dtype, images.shape)
        with _Switches(self), self:
            outputs = model(images)
        leaves, structure = tree_flatten(outputs)
        self.note(str(structure), [self.argument(leaf) for leaf in leaves])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        self.note(str(func), tree_map(self.argument, (args, keywords)))
        made = _result(func, args, keywords)
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.number(leaf)
        return made

    def note(self, *values: Any) -> None:
        """Add values to the hash, as texts that distinguish them."""
        self.text.update(repr(values).encode())

    def number(self, tensor: Tensor) -> int:
        """The number of a tensor; a new one if it has none yet."""
        if id(tensor) not in self.numbers:
            self.seen.append(tensor)
        return self.numbers.setdefault(id(tensor), len(self.seen))

    def argument(self, value: Any) -> Any:
        """A text that is the same for equal arguments; arguments without one set `opaque`."""
        if not isinstance(value, Tensor):
            self.opaque |= not isinstance(value, _PLAIN)
            return repr(value)
        if id(value) not in self.numbers:  # no operation made it: a constant in the code, or a module's attribute
            self.opaque |= value.is_meta or value.numel() > _LONGEST
            if not self.opaque:
                self.note("constant", self.number(value), value.dtype, value.shape, value.stride(), digest({"": value}))
        return "tensor", self.numbers.get(id(value))


class _Switches(TorchFunctionMode):
    """Records whether gradients and autocast are on, which no operation on the meta device shows."""

    def __init__(self, record: _Record) -> None:
        super().__init__()
        self.record, self.before = record, ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        now = f"{torch.is_grad_enabled()} {torch.is_autocast_enabled('cpu')} {torch.get_autocast_dtype('cpu')}"
        if now != self.before:
            self.record.note(now)
            self.before = now
        return func(*args, **(kwargs or {}))


def _result(func: Any, args: Any, keywords: Any) -> Any:
    """The result of an operation; one that only makes new tensors runs once for arguments of the same kinds."""
    given = tree_leaves((args, keywords))
    views = func._schema.is_mutable or any(part.alias_info for part in func._schema.returns)
    if views or any(isinstance(leaf, Tensor) and not leaf.is_meta for leaf in given):
        return func(*args, **keywords)
    key = func, repr(tree_map(_kind, (args, keywords)))
    if key not in _results:
        made = func(*args, **keywords)
        leaves, structure = tree_flatten(made)
        if all(isinstance(leaf, Tensor) and leaf.is_meta for leaf in leaves):
            _results[key] = [_kind(leaf) for leaf in leaves], structure
        return made
    kinds, structure = _results[key]
    made = [torch.empty_strided(size, stride, dtype=dtype, device="meta") for size, stride, dtype in kinds]
    return tree_unflatten(made, structure)


def _kind(value: Any) -> Any:
    """The shape, strides and type of a tensor; other values unchanged."""
    return (value.shape, value.stride(), value.dtype) if isinstance(value, Tensor) else value
