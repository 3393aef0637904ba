"""Messages about bfloat16: it is slow on this processor, or it would be fast."""

from typing import TYPE_CHECKING

from prunectl.cli import output

if TYPE_CHECKING:
    import torch

LEAST_FLOPS = 20_000_000
"""FLOPs of one image from which a network trains faster in bfloat16: lenet5, with 4 million, gains nothing."""


def warn_of_amp(device: "torch.device", *, asked: bool | None) -> None:
    """Warn if --amp was set and makes the command slower."""
    from prunectl.torchtools.bfloat16 import native_bfloat16

    if asked and not native_bfloat16(device):
        output.warn(f"this {device.type} has no instructions for bfloat16, so --amp makes it slower")


def hint_at_amp(device: "torch.device", *, asked: bool | None, flops: int) -> None:
    """Print a hint if a training on a cpu would be faster with --amp, and neither --amp nor --no-amp was set."""
    from prunectl.torchtools.bfloat16 import native_bfloat16

    if asked is None and device.type == "cpu" and flops >= LEAST_FLOPS and native_bfloat16(device):
        output.say("hint: this processor has bfloat16 instructions; --amp trains most networks faster")
