"""The runtimes that a latency is measured in, by name."""

from collections.abc import Iterable

from prunectl.plugins.registry import unknown

EAGER = "eager"
RUNTIMES = (EAGER, "compiled", "onnx")
"""Plain torch, torch.compile with its inductor, ONNX Runtime."""


def check_runtimes(names: Iterable[str]) -> None:
    """Refuse an unknown runtime.

    Raises:
        UnknownName: names the first of them.
    """
    for name in names:
        if name not in RUNTIMES:
            raise unknown("runtime", name, RUNTIMES)
