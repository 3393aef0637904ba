"""Limits the size of a network while it is built: a stranger's file can ask for any size."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from prunectl.errors import BuilderFailed, PrunectlError, TooLarge

_MOST_TENSORS = 10_000
"""Most tensors of a network; the largest published ones have some thousands."""
_MAKERS = frozenset(
    {
        *(torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.tensor, torch.arange),
        *(torch.eye, torch.linspace, torch.empty_like, torch.zeros_like, torch.ones_like, Tensor.clone),
    }
)
_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_MOST_NUMBERS: ContextVar[tuple[int, str] | None] = ContextVar("most_numbers", default=None)


@contextmanager
def at_most(numbers: int, why: str) -> Iterator[None]:
    """Refuse to build a network with more parameters and other numbers than this; `why` ends the error message."""
    token = _MOST_NUMBERS.set((numbers, why))
    try:
        yield
    finally:
        _MOST_NUMBERS.reset(token)


@contextmanager
def bounded(what: str) -> Iterator[None]:
    """Build a network within bounds, and turn whatever its code raises into one line.

    Raises:
        TooLarge: it has more tensors or numbers than any real network, or than fit into memory.
        BuilderFailed: its code raised an exception.
    """
    try:
        with _Counting(what):
            yield
    except (PrunectlError, NotImplementedError):  # the latter asks for another device
        raise
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        line = " ".join(str(error).split())[:200]
        if isinstance(error, MemoryError) or "allocate memory" in line:
            raise TooLarge(f"{what} does not fit into memory; use a smaller network") from error
        kind = type(error).__name__
        next_step = "fix its code" if ":" in what else "use other options"
        raise BuilderFailed(f"{what} cannot be built: {kind}{f': {line}' if line else ''}; {next_step}") from error


class _Counting(TorchFunctionMode):
    """Counts the tensors that are made, before anything is written into them."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.memory, self.asked = what, _memory(), _MOST_NUMBERS.get()
        self.tensors = self.numbers = self.bytes = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in _MAKERS and isinstance(made, Tensor):
            self.tensors += 1
            self.numbers += made.numel()
            self.bytes += made.numel() * made.element_size()
            self._check()
        return made

    def _check(self) -> None:
        if self.tensors > _MOST_TENSORS:
            raise TooLarge(f"{self.what} has more than {_MOST_TENSORS:,} tensors; use a smaller network")
        if self.asked is not None and self.numbers > self.asked[0]:
            raise TooLarge(f"{self.what} has at least {self.numbers:,} numbers: {self.asked[1]}")
        if self.bytes > self.memory:
            raise TooLarge(
                f"{self.what} needs at least {self.bytes / 1e9:,.1f} GB, {self.memory / 1e9:,.1f} GB are available; "
                "use a smaller network"
            )


def _memory() -> float:
    """The most bytes of memory that this process may take."""
    try:
        whole = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # not on every system
        whole = float("inf")
    try:
        return min(whole, float(_GROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # none, or "max"
        return whole
