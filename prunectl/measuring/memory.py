"""Measures bytes: of a network's tensors, and of a process at its peak."""

import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunectl.masks import Masks
from prunectl.torchtools.freed import trim

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def stored_bytes(model: nn.Module, masks: Masks) -> tuple[int, int]:
    """Bytes of all tensors: stored whole, and without pruned entries (one bit each, and the kept values)."""
    whole = packed = 0
    for name, tensor in model.state_dict().items():
        size = tensor.numel() * tensor.element_size()
        whole += size
        kept = masks.count(name, tensor) * tensor.element_size()
        packed += kept + -(-tensor.numel() // 8) if name in masks else size
    return whole, packed


def peak_memory(device: torch.device, work: Callable[[], Any]) -> tuple[Any, int]:
    """Run `work`; return its value and the peak bytes: allocated on the gpu, or resident in the process on a cpu."""
    forget_peak(device)
    return work(), memory_in_use(device)


def forget_peak(device: torch.device) -> None:
    """Restart the count of `memory_in_use`; on a cpu without Linux, it counts from the process's start."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    trim()  # freed memory that the allocator keeps must not count
    with suppress(OSError):
        _CLEAR.write_text("5")  # proc(5): resets the peak resident set size


def memory_in_use(device: torch.device) -> int:
    """Peak bytes since `forget_peak`: allocated on the gpu, or resident in the process on a cpu."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError, StopIteration):
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
