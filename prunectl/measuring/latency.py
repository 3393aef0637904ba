"""Seconds that a network takes on this machine, alone or relative to another."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.torchtools.contexts import evaluating
from prunectl.torchtools.copies import in_type_of

LATENCY_BATCHES = (1, 64)
_TIMING_SECONDS = 0.5
_SECONDS = 0.3
_MOST_SECONDS = 10.0
_INTERVAL = 0.05
"""Width of the interval of a relative latency that is exact enough, as a share of it."""
_ROUNDS = 3
_WARM_UP = 3
"""Calls of each run before any is timed."""


@dataclass(frozen=True)
class Ratio:
    """A ratio of latencies, the median over pairs of runs, between the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(pairs: Sequence[float]) -> "Ratio":
        """From the ratio of each pair of runs; the bounds are order statistics, whatever the distribution."""
        ordered, half = sorted(pairs), len(pairs) / 2
        spread = 0.98 * math.sqrt(len(ordered))
        low, high = max(math.floor(half - spread), 0), min(math.ceil(half + spread), len(ordered) - 1)
        return Ratio(median(ordered), ordered[low], ordered[high])

    def decides(self, limit: float | None) -> bool:
        """Whether the interval is below 5 % of the ratio, or lies on one side of the limit."""
        return self.high - self.low < _INTERVAL * self.value or (
            limit is not None and not self.low <= limit <= self.high
        )


def relative_latency(
    one: nn.Module, other: nn.Module, shape: tuple[int, int, int], *, limit: float | None = None
) -> Ratio:
    """The latency of `one` divided by that of `other`: for one image, in turns, one CPU thread.

    Goes on until the interval is below 5 % of the ratio, or lies on one side of `limit`; for ten seconds at most.
    """
    image = in_type_of(one, torch.full((1, *shape), 0.5, device=next(one.parameters()).device))
    runs = {"one": forward_pass(one, image), "other": forward_pass(other, image)}
    pairs: list[float] = []
    begun = perf_counter()
    with evaluating(one), evaluating(other):
        while not pairs or (not Ratio.of(pairs).decides(limit) and perf_counter() - begun < _MOST_SECONDS):
            taken = seconds_in_turns(runs, at_least_s=_SECONDS, rounds=_ROUNDS)
            pairs += [a / b for a, b in zip(taken["one"], taken["other"], strict=True)]
    return Ratio.of(pairs)


def seconds_in_turns(
    runs: Mapping[str, Callable[[], object]], *, at_least_s: float, rounds: int
) -> dict[str, list[float]]:
    """The seconds of every call, in turns, so that a disturbance slows all runs alike; one CPU thread, no gradients.

    Goes on for `at_least_s` seconds in total and for `rounds` calls of each run, whichever takes longer.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for run in [*runs.values()] * _WARM_UP:
                run()
            begun, done = perf_counter(), 0
            while runs and (done < rounds or perf_counter() - begun < at_least_s):
                for name, run in runs.items():
                    start = perf_counter()
                    run()
                    taken[name].append(perf_counter() - start)
                done += 1
    finally:
        torch.set_num_threads(threads)
    return taken


def forward_pass(model: nn.Module, inputs: Tensor) -> Callable[[], object]:
    """A call that runs the network on a batch and returns when its device is done."""
    if inputs.device.type == "cpu":
        return partial(model, inputs)

    def run() -> None:
        model(inputs)
        torch.accelerator.synchronize(inputs.device)

    return run


def latency(model: nn.Module, shape: tuple[int, int, int], batch: int) -> dict[str, Any]:
    """Seconds per batch on the model's device, one CPU thread: median and interquartile range."""
    from torch.utils.benchmark import Timer  # noqa: PLC0415

    device = next(model.parameters()).device
    inputs = in_type_of(model, torch.randn(batch, *shape, device=device))
    here = torch.cuda.device(device) if device.type == "cuda" else nullcontext()  # for which the timer waits
    with here, evaluating(model), torch.inference_mode():
        timer = Timer("model(inputs)", globals={"model": model, "inputs": inputs}, num_threads=1)
        taken = timer.blocked_autorange(min_run_time=_TIMING_SECONDS)
    return {"batch": batch, "median_s": taken.median, "iqr_s": taken.iqr, "runs": len(taken.times)}
