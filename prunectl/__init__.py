"""Prune PyTorch image classifiers before, during or after training, really smaller, proved to compute the same."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Bring `prunectl.load` when it is asked for, so that `import prunectl` stays free of torch."""
    if name == "load":
        from prunectl.checkpoints.checkpoint import load  # noqa: PLC0415

        return load
    raise AttributeError(f"module 'prunectl' has no attribute '{name}'")
