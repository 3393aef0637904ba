"""Seconds that a network takes on this machine, alone or relative to another."""

from contextlib import nullcontext
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.torchtools.contexts import evaluating

LATENCY_BATCHES = (1, 64)
_TIMING_SECONDS = 0.5
_SECONDS = 0.3
_LEAST = 3
"""Passes to warm up, and passes that are timed however long they take."""


def relative_latency(one: nn.Module, other: nn.Module, shape: tuple[int, int, int]) -> float:
    """The latency of `one` divided by that of `other`: medians for one image, in turns, one cpu thread."""
    image = torch.full((1, *shape), 0.5, device=next(one.parameters()).device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with evaluating(one), evaluating(other), torch.inference_mode():
            for _ in range(_LEAST):
                _seconds(one, image), _seconds(other, image)
            taken: list[tuple[float, float]] = []
            begun = perf_counter()
            while len(taken) < _LEAST or perf_counter() - begun < _SECONDS:
                taken.append((_seconds(one, image), _seconds(other, image)))
    finally:
        torch.set_num_threads(threads)
    ours, theirs = zip(*taken, strict=True)
    return float(median(ours) / median(theirs))


def _seconds(model: nn.Module, image: Tensor) -> float:
    """The time of one forward pass."""
    begun = perf_counter()
    model(image)
    if image.device.type != "cpu":
        torch.accelerator.synchronize(image.device)
    return perf_counter() - begun


def latency(model: nn.Module, shape: tuple[int, int, int], batch: int) -> dict[str, Any]:
    """Seconds per batch on the model's device, one cpu thread: median and interquartile range."""
    from torch.utils.benchmark import Timer  # noqa: PLC0415

    device = next(model.parameters()).device
    inputs = torch.randn(batch, *shape, device=device)
    here = torch.cuda.device(device) if device.type == "cuda" else nullcontext()  # for which the timer waits
    with here, evaluating(model), torch.inference_mode():
        timer = Timer("model(inputs)", globals={"model": model, "inputs": inputs}, num_threads=1)
        taken = timer.blocked_autorange(min_run_time=_TIMING_SECONDS)
    return {"batch": batch, "median_s": taken.median, "iqr_s": taken.iqr, "runs": len(taken.times)}
