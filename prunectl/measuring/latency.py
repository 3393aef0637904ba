"""Seconds that a network takes on this machine, alone or relative to another."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import torch
from torch import nn

from prunectl.measuring.runtimes import network_in, ready
from prunectl.torchtools.contexts import evaluating, one_thread
from prunectl.torchtools.copies import in_type_of

LATENCY_BATCHES = (1, 64)
TIMING_SECONDS = 0.5
_SECONDS = 0.3
_MOST_SECONDS = 10.0
_INTERVAL = 0.05
"""Width of the interval of a relative latency that is exact enough, as a share of it."""
LEAST_TURNS = 7
"""Turns of each runtime: enough for the interval of a median."""
TURN_SECONDS = 0.02
"""Shorter turns leave the processor's caches to the others: a small network then takes up to twice its time alone."""
Turn = list[float]
"""The seconds of calls that follow each other."""
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
        return Ratio(median(pairs), *_bounds(pairs))

    @property
    def is_exact(self) -> bool:
        """Whether the interval is below 5 % of the ratio."""
        return self.high - self.low < _INTERVAL * self.value

    def decides(self, limit: float | None) -> bool:
        """Whether the interval is below 5 % of the ratio, or excludes the limit."""
        return self.is_exact or (limit is not None and not self.low <= limit <= self.high)


def relative_latency(one: Callable[[], object], other: Callable[[], object], *, limit: float | None = None) -> Ratio:
    """The seconds of a call of `one` divided by those of `other`: in turns, one CPU thread; see `turns_of_two`."""
    return Ratio.of(ratios(*turns_of_two(one, other, limit=limit)))


def turns_of_two(
    one: Callable[[], object], other: Callable[[], object], *, limit: float | None = None
) -> tuple[list[Turn], list[Turn]]:
    """The turns of two runs, until the interval of their ratio is below 5 %, or excludes `limit`; 10 s at most."""
    first: list[Turn] = []
    second: list[Turn] = []
    begun = perf_counter()
    while not first or (not Ratio.of(ratios(first, second)).decides(limit) and perf_counter() - begun < _MOST_SECONDS):
        taken = seconds_in_turns({"one": one, "other": other}, at_least_s=_SECONDS, rounds=LEAST_TURNS)
        first += taken["one"]
        second += taken["other"]
    return first, second


def ratios(first: Sequence[Turn], second: Sequence[Turn]) -> list[float]:
    """The ratio of the medians of each pair of turns."""
    return [median(one) / median(other) for one, other in zip(first, second, strict=True)]


def seconds_in_turns(
    runs: Mapping[str, Callable[[], object]], *, at_least_s: float, rounds: int
) -> dict[str, list[Turn]]:
    """The seconds of every call, in turns, so that a disturbance slows all runs alike; one CPU thread, no gradients.

    Continues for `at_least_s` seconds in total and for `rounds` turns of each run, whichever takes longer.
    """
    taken: dict[str, list[Turn]] = {name: [] for name in runs}
    with one_thread(), torch.inference_mode():
        for run in [*runs.values()] * _WARM_UP:
            run()
        begun, done = perf_counter(), 0
        while runs and (done < rounds or perf_counter() - begun < at_least_s):
            for name, run in runs.items():
                taken[name].append(_turn(run))
            done += 1
    return taken


def _turn(run: Callable[[], object]) -> Turn:
    """The seconds of each call of a turn: one, or as many as fit into `TURN_SECONDS`."""
    begun = now = perf_counter()
    taken: Turn = []
    while not taken or now - begun < TURN_SECONDS:
        run()
        before, now = now, perf_counter()
        taken.append(now - before)
    return taken


def latency(model: nn.Module, shape: tuple[int, int, int], batch: int) -> dict[str, Any]:
    """Seconds per batch on the model's device, one CPU thread: median and interquartile range."""
    from torch.utils.benchmark import Timer  # noqa: PLC0415

    device = next(model.parameters()).device
    inputs = in_type_of(model, torch.randn(batch, *shape, device=device))
    here = torch.cuda.device(device) if device.type == "cuda" else nullcontext()  # for which the timer waits
    with here, evaluating(model), torch.inference_mode():
        timer = Timer("model(inputs)", globals={"model": model, "inputs": inputs}, num_threads=1)
        taken = timer.blocked_autorange(min_run_time=TIMING_SECONDS)
    return {"batch": batch, "median_s": taken.median, "iqr_s": taken.iqr, "runs": len(taken.times)}


def latencies(model: nn.Module, shape: tuple[int, int, int], runtimes: Sequence[str]) -> list[dict[str, Any]]:
    """Seconds per batch in each runtime, in turns on one CPU thread: median, its 95 % interval, interquartile range.

    `compile_s` are the seconds that torch.compile took, which the others do not contain.

    Raises:
        OptionError, StructureError: a runtime cannot run the network.
    """
    device, found = next(model.parameters()).device, []
    with evaluating(model):
        networks = {name: network_in(name, model, shape) for name in runtimes}
        for batch in LATENCY_BATCHES:
            inputs = in_type_of(model, torch.randn(batch, *shape, device=device))
            made = {name: ready(network, name, inputs) for name, network in networks.items()}
            runs = {name: each.run for name, each in made.items()}
            taken = seconds_in_turns(runs, at_least_s=TIMING_SECONDS * len(runs), rounds=LEAST_TURNS)
            found += [timing(name, batch, taken[name], made[name].compile_s) for name in runtimes]
    return found


def timing(runtime: str, batch: int, turns: Sequence[Turn], compile_s: float | None = None) -> dict[str, Any]:
    """The record of a runtime at one size of a batch, from the seconds of every call.

    Calls of one turn are disturbed alike, so the interval is that of the medians of turns.
    """
    medians, calls = [median(turn) for turn in turns], [seconds for turn in turns for seconds in turn]
    (low, high), (first, _, third) = _bounds(medians), quantiles(calls, n=4)
    spread = {"low_s": low, "high_s": high, "iqr_s": third - first, "runs": len(calls)}
    compiled = {} if compile_s is None else {"compile_s": compile_s}
    return {"runtime": runtime, "batch": batch, "median_s": median(medians), **spread, **compiled}


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of a median: order statistics, whatever the distribution."""
    ordered, half = sorted(values), len(values) / 2
    spread = 0.98 * math.sqrt(len(ordered))
    return ordered[max(math.floor(half - spread), 0)], ordered[min(math.ceil(half + spread), len(ordered) - 1)]
