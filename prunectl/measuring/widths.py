"""Finds odd widths: layers whose outputs are not a multiple of the channels that kernels compute at once."""

from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.masks import prunable

BLOCK = 8
"""Widths that are multiples of this are fast in torch and in ONNX Runtime on a CPU."""
WIDE = 16
"""Up to this width a layer costs little, and steps of eight would leave pruning no choice."""


def odd_widths(model: nn.Module) -> list[str]:
    """The weights of layers with more than eight outputs that are not a multiple of eight."""
    return [name for name, weight in prunable(model).items() if len(weight) > BLOCK and len(weight) % BLOCK]


def hint(model: nn.Module) -> str | None:
    """A line if the widths of a shrunk network may cost speed; the output layer, which stays, does not count."""
    weights = list(prunable(model))
    odd = [name for name in odd_widths(model) if name != weights[-1]]
    if not odd:
        return None
    return (
        f"{len(odd)} of {len(weights)} layers have widths that are not a multiple of {BLOCK}, which ONNX Runtime may "
        f"run slower than the dense network; prune with `--multiple-of auto`"
    )


def hint_of(checkpoint: Checkpoint) -> str | None:
    """The line of `hint` for a shrunk network; None if it was pruned in multiples."""
    return hint(checkpoint.model) if checkpoint.edits and not in_multiples(checkpoint) else None


def in_multiples(checkpoint: Checkpoint) -> bool:
    """Whether a network was pruned in multiples."""
    return any(entry.options.get("multiple_of", 1) != 1 for entry in checkpoint.history)
