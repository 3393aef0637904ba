"""Releases pages of a mapped file: once read, they count as the process's own until it releases them."""

import ctypes
import mmap
import sys
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from prunectl.torchtools.pieces import pieces

_PAGEOUT = 21
"""MADV_PAGEOUT of madvise(2), since Linux 5.4: nothing is lost, even if a page was changed."""


class CopiedOut(TorchFunctionMode):
    """Copies tensors piece by piece inside the block, and releases the pages of each piece.

    For tensors that are mapped from a file and read once.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, or copy in pieces."""
        if func is not Tensor.copy_ or kwargs or not _alike(*args):
            return func(*args, **(kwargs or {}))
        into, mapped = args
        for piece, of_mapped in pieces(into, mapped):
            piece.copy_(of_mapped)
            _page_out(of_mapped)
        return into


def _alike(into: Tensor, mapped: Tensor, *_: Any) -> bool:
    """Whether both are in row-major order."""
    return into.shape == mapped.shape and into.is_contiguous() and mapped.is_contiguous()


def _page_out(tensor: Tensor) -> None:
    """Release the whole pages of a contiguous tensor until they are read again; only on Linux."""
    begin = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    pages = (tensor.data_ptr() + tensor.nbytes - begin) // mmap.PAGESIZE
    if sys.platform == "linux" and pages > 0:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(pages * mmap.PAGESIZE), _PAGEOUT)
