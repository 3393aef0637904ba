"""Finds networks left at chance accuracy by their training, and likely causes in their pruning."""

from collections.abc import Iterator, Mapping, Sequence
from math import prod, sqrt
from typing import Any

from prunectl.checkpoints.names import base_name
from prunectl.reporting.sources import Source

_DEVIATIONS = 2
"""Allowed distance from chance, in standard deviations of the accuracy of guessing."""
_THIN = 0.01
"""A layer that keeps a smaller share of its weights is named."""
_NAMED = 3


def chance_notices(sources: Sequence[Source]) -> list[str]:
    """One line per pruned network that was trained afterwards, but is no better than one answer for all images."""
    return [
        f"{base_name(one.path)}: {100 * one.measured['accuracy']:.2f}% after training, no better than one answer for "
        f"all images{_because(one)}"
        for one in sources
        if _was_trained(one) and _is_chance(one.measured)
    ]


def _was_trained(source: Source) -> bool:
    """Whether a training with steps followed the last pruning, or included it."""
    history = source.history
    last = next((i for i in reversed(range(len(history))) if "criterion" in history[i].options), None)
    return last is not None and any(e.command == "train" and e.options.get("steps") for e in history[last:])


def _is_chance(measured: Mapping[str, Any]) -> bool:
    """Whether the best constant answer could reach this accuracy by luck."""
    images, accuracy = measured.get("images"), measured.get("accuracy")
    rows = [sum(row) for row in measured.get("confusion") or ()]
    if not images or accuracy is None or not rows or sum(rows) != images:
        return False
    most = max(rows) / images
    return bool(accuracy <= most + _DEVIATIONS * sqrt(most * (1 - most) / images))


def _because(source: Source) -> str:
    """The known causes, the surest first; empty if the network looks sound."""
    causes = list(_causes(source))
    return f": {'; '.join(causes)}" if causes else ""


def _causes(source: Source) -> Iterator[str]:
    layers = {
        str(tensor["name"]).removesuffix(".weight"): (int(tensor["kept"]), prod(tensor["shape"]))
        for tensor in (source.seen or {}).get("tensors", ())
        if len(tensor["shape"]) > 1
    }
    empty = [name for name, (kept, _) in layers.items() if not kept]
    if empty:
        more = f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else ""
        yield f"no weight is left in {', '.join(empty[:_NAMED])}{more}"
    lost = next(
        (e.result["unreached_classes"] for e in reversed(source.history) if "unreached_classes" in e.result), ()
    )
    if lost:
        yield f"no kept weight leads to {len(lost)} of {(source.seen or {}).get('classes')} classes"
    thin = min((pair for pair in layers.items() if pair[1][0]), key=lambda pair: pair[1][0] / pair[1][1], default=None)
    if thin is not None and not empty and thin[1][0] / thin[1][1] < _THIN:
        yield f"{thin[0]} keeps {thin[1][0]:,} of {thin[1][1]:,} weights"
