"""Finds odd widths: layers whose outputs are not a multiple of the channels that kernels compute at once."""

from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.masks import prunable

BLOCK = 8
"""Widths that are multiples of this are fast in torch and in ONNX Runtime on a CPU."""
WIDE = 16
"""Up to this width a layer costs little, and steps of eight would leave pruning no choice."""

_SHOWN = 3


def odd_widths(model: nn.Module) -> list[str]:
    """The weights of layers with more than eight outputs that are not a multiple of eight."""
    return [name for name, weight in prunable(model).items() if len(weight) > BLOCK and len(weight) % BLOCK]


def hint(model: nn.Module) -> str | None:
    """A line if the widths of a shrunk network may cost speed; the output layer, which stays, does not count."""
    weights = prunable(model)
    odd = [name for name in odd_widths(model) if name != list(weights)[-1]]
    if not odd:
        return None
    shown = ", ".join(f"{name.removesuffix('.weight')}: {len(weights[name])}" for name in odd[:_SHOWN])
    shown += ", ..." if len(odd) > _SHOWN else ""
    return (
        f"{len(odd)} of {len(weights)} layers {'has' if len(odd) == 1 else 'have'} a width that is not a multiple of "
        f"{BLOCK} ({shown}): ONNX Runtime may run the network slower than the dense one; to avoid that, prune with "
        "`--multiple-of auto`"
    )


def hint_of(checkpoint: Checkpoint) -> str | None:
    """The line of `hint` for a shrunk network.

    None if it was pruned in multiples, or to a latency that was measured in ONNX Runtime.
    """
    if not checkpoint.edits or in_multiples(checkpoint) or _was_measured_in_onnx(checkpoint):
        return None
    return hint(checkpoint.model)


def _was_measured_in_onnx(checkpoint: Checkpoint) -> bool:
    """Whether the network was pruned to a latency in ONNX Runtime."""
    return any("latency" in each.result and each.options.get("runtime") == "onnx" for each in checkpoint.history)


def in_multiples(checkpoint: Checkpoint) -> bool:
    """Whether a network was pruned in multiples."""
    return any(entry.options.get("multiple_of", 1) != 1 for entry in checkpoint.history)
