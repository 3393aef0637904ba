"""Memory that is freed, which the command line keeps (`cli/process.py`) as the next tensors then come faster."""

import ctypes
import gc
from contextlib import suppress


def give_back() -> None:
    """Return freed memory to the system, after the objects that only hold each other: between steps on large tensors.

    The next step may need it in other sizes, and what was kept would count beside that.
    """
    gc.collect()
    trim()


def trim() -> None:
    """Return freed memory to the system; only glibc can do so."""
    with suppress(OSError, AttributeError, TypeError):  # musl, macOS, Windows
        ctypes.CDLL(None).malloc_trim(0)
