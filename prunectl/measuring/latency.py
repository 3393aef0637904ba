"""Seconds that a network takes on this machine, alone or relative to another."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
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
_ROUNDS = 3
_WARM_UP = 3
"""Calls of each run before any is timed."""


def relative_latency(one: nn.Module, other: nn.Module, shape: tuple[int, int, int]) -> float:
    """The latency of `one` divided by that of `other`: medians for one image, in turns, one CPU thread."""
    image = in_type_of(one, torch.full((1, *shape), 0.5, device=next(one.parameters()).device))
    runs = {"one": forward_pass(one, image), "other": forward_pass(other, image)}
    with evaluating(one), evaluating(other):
        taken = seconds_in_turns(runs, at_least_s=_SECONDS, rounds=_ROUNDS)
    return median(taken["one"]) / median(taken["other"])


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
