"""Two networks side by side: accuracies on the same images, latencies in turns."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.runtimes import EAGER
from prunectl.data.images import ImageData
from prunectl.errors import OptionError
from prunectl.measuring.evaluate import evaluate
from prunectl.measuring.latency import LATENCY_BATCHES, Ratio, ratios, timing, turns_of_two
from prunectl.measuring.runtimes import Ready, network_in, ready
from prunectl.torchtools.contexts import evaluating
from prunectl.torchtools.copies import in_type_of

Prepared = Callable[[str, int], tuple[Ready, Ready]]
"""Makes the runs of both networks in a runtime, for a size of a batch."""
Task = tuple[tuple[int, int, int], int]
"""The shape (C, H, W) of an image, and the number of classes."""


def evaluate_beside(
    checkpoint: Checkpoint,
    other: Checkpoint,
    data: ImageData,
    *,
    with_latency: bool = True,
    runtimes: Sequence[str] = (),
    report: Callable[[str], None] | None = None,
    **settings: Any,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The records of `evaluate`, with these `settings`, for two networks on the same images.

    The first record says under `against` how the other network compares. Latencies, by default those of plain torch,
    are measured in turns.

    Raises:
        DataError, StructureError: as `evaluate`.
        OptionError: as `evaluate`, or the networks are of different tasks.
    """
    spec, say = checkpoint.spec, report or (lambda _: None)
    check_alike((spec.input, spec.classes), (other.spec.input, other.spec.classes))
    other.check_held_out(data)
    record = evaluate(checkpoint, data, with_latency=False, runtimes=runtimes, report=report, **settings)
    say("accuracy of the other network")
    theirs = evaluate(other, data.in_order_of(other.names), with_latency=False, runtimes=runtimes, **settings)
    record["against"] = {"checkpoint": other.sha256, **compared(record["accuracy"], theirs["accuracy"])}
    if with_latency:
        say("latency of both networks")
        timings = latencies_beside(checkpoint.model, other.model, spec.input, runtimes or (EAGER,))
        record["latency"], record["against"]["latency"] = timings
        theirs["latency"] = [{k: v for k, v in each.items() if not k.startswith("ratio")} for each in timings[1]]
    return record, theirs


def compared(accuracy_of_one: float, accuracy_of_other: float) -> dict[str, float]:
    """The accuracy of the other network, and how much higher that of the first is."""
    return {"accuracy": accuracy_of_other, "accuracy_difference": accuracy_of_one - accuracy_of_other}


def check_alike(one: Task, other: Task) -> None:
    """Refuse to compare networks of different tasks.

    Raises:
        OptionError: they differ.
    """
    if one != other:
        texts = [f"images of {'x'.join(map(str, shape))} and {classes} classes" for shape, classes in (one, other)]
        raise OptionError(f"`against` compares networks of one task, found {texts[0]}, against {texts[1]}")


def latencies_beside(
    one: nn.Module, other: nn.Module, shape: tuple[int, int, int], runtimes: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The timings of both networks on the device of each, in turns, in each runtime; see `timings_beside`."""
    with evaluating(one), evaluating(other):
        networks = {name: [(each, network_in(name, each, shape)) for each in (one, other)] for name in runtimes}

        def prepared(runtime: str, batch: int) -> tuple[Ready, Ready]:
            images = torch.randn(batch, *shape, device=next(one.parameters()).device)
            first, second = (ready(run, runtime, in_type_of(each, images)) for each, run in networks[runtime])
            return first, second

        return timings_beside(prepared, runtimes)


def timings_beside(prepared: Prepared, runtimes: Sequence[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The timings of one network, as `timing` records them, and those of another with `ratio`, `ratio_low` and `_high`.

    A ratio is the time of the first divided by that of the other, with its 95 % interval.
    """
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for batch in LATENCY_BATCHES:
        for runtime in runtimes:
            runs = prepared(runtime, batch)
            first, second = turns_of_two(runs[0].run, runs[1].run)
            ours.append(timing(runtime, batch, first, runs[0].compile_s))
            found = Ratio.of(ratios(first, second))
            compared = {"ratio": found.value, "ratio_low": found.low, "ratio_high": found.high}
            theirs.append({**timing(runtime, batch, second, runs[1].compile_s), **compared})
    return ours, theirs
