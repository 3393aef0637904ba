"""Messages about bfloat16: that it is slow on this processor, or that it would be fast."""

from typing import TYPE_CHECKING

from prunectl.cli import output

if TYPE_CHECKING:
    import torch

LEAST_FLOPS = 20_000_000
"""Of one image, from which a network trains faster in bfloat16: lenet5, with 4 million, gains nothing."""


def warn_of_amp(device: "torch.device", *, asked: bool | None) -> None:
    """Say where --amp was asked for and slows down."""
    from prunectl.torchtools.bfloat16 import native_bfloat16

    if asked and not native_bfloat16(device):
        output.warn(f"this {device.type} has no instructions for bfloat16, so --amp makes it slower")


def hint_at_amp(device: "torch.device", *, asked: bool | None, flops: int) -> None:
    """Say where a training on a cpu would be faster with --amp, which was neither asked for nor refused."""
    from prunectl.torchtools.bfloat16 import native_bfloat16

    if asked is None and device.type == "cpu" and flops >= LEAST_FLOPS and native_bfloat16(device):
        output.say("hint: this processor multiplies in bfloat16, in which --amp trains most networks faster")
