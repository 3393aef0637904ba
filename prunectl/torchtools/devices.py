"""Devices by name."""

import torch

from prunectl.errors import DeviceError, OptionError
from prunectl.torchtools.distributed import joined, local_device


def device_named(name: str) -> torch.device:
    """The device named `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; each of several processes has its own gpu.

    Raises:
        DeviceError: it is not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = local_device(torch.device(name))
    except RuntimeError as error:
        raise OptionError(f"no device named '{name}'; use auto, cpu, cuda or mps") from error
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, False):
        asked = name if device.index is None else device
        raise DeviceError(f"device '{asked}' is not available; use `device` cpu or auto")
    if joined() and device.type == "cuda":
        torch.cuda.set_device(device)  # nccl and pinned memory use the current device
    return device
