"""Returns freed memory to the system; the command line keeps it (`cli/process.py`) to allocate tensors faster."""

import ctypes
import gc
from contextlib import suppress


def give_back() -> None:
    """Collect garbage and return freed memory to the system, between steps on large tensors.

    The next step may need other sizes, in addition to the kept memory.
    """
    gc.collect()
    trim()


def trim() -> None:
    """Return freed memory to the system; only glibc can do this."""
    with suppress(OSError, AttributeError, TypeError):  # musl, macOS, Windows
        ctypes.CDLL(None).malloc_trim(0)
