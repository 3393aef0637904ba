"""Progress of an attack within a batch, counted in forward passes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

Watch = Callable[[float, str], None]
"""Called at every forward pass with (images done, what is running); the current batch counts by its finished share."""
_COUNTS = ("steps", "queries", "repeats", "restarts", "binary_search_steps", "targets")
"""Options of attacks whose product limits their number of passes."""


class Progress:
    """Counts passes of a batch of `images` after `before` others, in equal `parts`; an attack at one eps is a part."""

    def __init__(self, watch: Watch | None, before: int, images: int, parts: int) -> None:
        self.watch, self.before, self.images, self.parts = watch, before, images, parts
        self.done, self.passes, self.all_passes = 0, 0, 0
        self.name, self.bound = "", 1

    def begin(self, name: str, attack: Any, parts: int = 1) -> None:
        """Begin the next part or parts, with an attack of this name."""
        self.name, self.bound, self.passes = name, _bound(attack), 0
        self.now, self.done = self.done, self.done + parts

    def seen(self) -> None:
        """Count a forward pass."""
        self.passes, self.all_passes = self.passes + 1, self.all_passes + 1
        if self.watch is not None and self.name:
            inside = min(self.passes / self.bound, 1.0) * (self.done - self.now)
            share = min((self.now + inside) / self.parts, 1.0)
            self.watch(self.before + share * self.images, f"{self.name}, {self.all_passes:,} passes")


def _bound(attack: Any) -> int:
    """The most passes that an attack takes, according to its options."""
    bound = 1
    for name in _COUNTS:
        count = getattr(attack, name, None)
        bound *= count if isinstance(count, int) and count > 0 else 1
    return bound


@contextmanager
def counted(models: list[nn.Module], seen: Callable[[], None]) -> Iterator[None]:
    """Call `seen` once before every forward pass of the networks, inside the block."""
    handles = [model.register_forward_pre_hook(lambda *_: seen()) for model in dict.fromkeys(models)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
