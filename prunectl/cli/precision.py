"""Messages about bfloat16: it is slow on this processor, or it would be fast."""

from typing import TYPE_CHECKING

from prunectl.cli import output

if TYPE_CHECKING:
    import torch

LEAST_FLOPS = 20_000_000
"""FLOPs of one image from which a network trains faster in bfloat16: lenet5, with 4 million, gains nothing."""
LONG_FLOPS = 3_000_000_000_000
"""FLOPs of a training, forward and backward, from which a hint is worth a line: about a minute on two cores."""
_PASSES = 3
"""FLOPs of a step, in forward passes: the backward pass takes two."""


def warn_of_amp(device: "torch.device", *, asked: bool | None) -> None:
    """Warn if --amp was set and makes the command slower."""
    from prunectl.torchtools.bfloat16 import native_bfloat16

    if asked and not native_bfloat16(device):
        output.warn(f"this {device.type} has no instructions for bfloat16, so --amp makes it slower")


def hint_at_amp(device: "torch.device", *, asked: bool | None, flops: int, images: int) -> None:
    """Print a hint if a training on a cpu would be faster with --amp, and neither --amp nor --no-amp was set.

    `flops` are those of one image, `images` those of all epochs. A short training gets no hint.
    """
    from prunectl.torchtools.bfloat16 import native_bfloat16

    pays = flops >= LEAST_FLOPS and _PASSES * flops * images >= LONG_FLOPS
    if asked is None and device.type == "cpu" and pays and native_bfloat16(device):
        output.say("hint: this processor has bfloat16 instructions; --amp trains most networks faster")
