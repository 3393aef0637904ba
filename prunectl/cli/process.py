"""Sets up the process before torch starts; variables that the user has set are kept."""

import ctypes
import os

# mallopt's names in glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_ALL, _LARGE = 1 << 30, 1 << 24
"""Limits in bytes: smaller freed tensors stay with a process that keeps memory, or with one that gives it back."""
_KEEPING = ("train", "eval", "attack", "repair", "explain", "predict", "report")
"""Commands that run a network on many batches; `prune` does if its criterion uses images, and calls this itself."""


def prepare(command: str) -> None:
    """Let waiting threads sleep soon, and let the process keep or give back the memory that it frees."""
    _spin_less()
    if command in _KEEPING:
        keep_freed_memory()
    else:
        _set_threshold(_LARGE)


def _spin_less() -> None:
    """Make waiting threads of torch sleep sooner; by default they spin for milliseconds.

    Two trainings on the same two cores would take 5 to 10 times as long as one (measured: 1.4 s alone, 15 s each
    together; 4 s each with less spinning).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def keep_freed_memory() -> None:
    """Let glibc keep freed tensors below 1 GiB: otherwise, each new one faults its pages in again.

    Activations of some 10 MB are freed and allocated in every layer of every step; tests/benchmarks/allocator.py
    measures the cost. A command that passes over weights, in pieces of less than 16 MiB, gives larger tensors back:
    kept in one size, they would take memory besides what it needs in another size.
    """
    _set_threshold(_ALL)


def _set_threshold(size: int) -> None:
    """Return tensors of this size when they are freed; nothing happens without glibc or if the user has set it up."""
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # musl, macOS, Windows
        return
    mallopt(_TRIM_THRESHOLD, size)
    mallopt(_MMAP_THRESHOLD, size)
