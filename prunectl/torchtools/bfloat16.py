"""Checks whether bfloat16 is fast on a device."""

import platform

import torch


def native_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions that multiply bfloat16; without them a cpu converts every number.

    On a cpu, torch's own queries decide: AVX-512-BF16, which every processor with AMX has too, or Arm's BF16 extension.
    """
    if device.type != "cpu":
        return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if platform.machine().lower() in ("aarch64", "arm64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())
