"""What the process asks of its system before torch starts; variables that the user has set stay."""

import ctypes
import os

# mallopt's names in glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_BYTES = 1 << 30


def prepare() -> None:
    """Let waiting threads sleep soon, and let the process keep the memory that it frees."""
    _spin_less()
    if not any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        _keep_freed_memory()


def _spin_less() -> None:
    """Threads of torch that wait for work spin for milliseconds by default.

    Two trainings on the same two cores then take 5 to 10 times as long as one (measured: 1.4 s alone, 15 s each
    together); spinning less, 4 s each.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def _keep_freed_memory() -> None:
    """Let glibc keep freed tensors below 1 GiB: otherwise, each new one faults its pages in again.

    Activations of some 10 MB are freed and allocated in every layer of every step; tests/benchmarks/allocator.py has
    what that costs. Without glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # musl, macOS, Windows
        return
    mallopt(_TRIM_THRESHOLD, _BYTES)
    mallopt(_MMAP_THRESHOLD, _BYTES)
