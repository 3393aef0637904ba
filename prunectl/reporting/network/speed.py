"""Speed of the dense, the masked and the shrunk network side by side, in torch and in ONNX Runtime."""

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median, quantiles

import torch
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.pixels import deployed
from prunectl.errors import PrunectlError
from prunectl.measuring.latency import LATENCY_BATCHES, seconds_in_turns
from prunectl.measuring.runtimes import forward_pass
from prunectl.measuring.widths import in_multiples
from prunectl.pruning.shrink import shrink
from prunectl.reporting.findings import Speed, Timing
from prunectl.reporting.network.layers import dense_network
from prunectl.reporting.network.onnx import session
from prunectl.reporting.network.reasons import reasons
from prunectl.structure.surgery.cut import grown
from prunectl.structure.surgery.plan import Plan

_SECONDS = 0.4
"""Seconds for each network, batch size and runtime."""
_ROUNDS = 9


def speed(checkpoint: Checkpoint) -> Speed:
    """Time all networks in turns, for batches of 1 and 64, on one CPU thread."""
    networks, notes = _networks(checkpoint)
    surrounded = {name: deployed(model) for name, model in networks.items()}
    sessions = {name: session(model, checkpoint.spec.input) for name, model in surrounded.items()}
    notes += [why for why in sessions.values() if isinstance(why, str)]
    timings: list[Timing] = []
    for batch in LATENCY_BATCHES:
        inputs = torch.rand(batch, *checkpoint.spec.input, generator=torch.Generator().manual_seed(0))
        timings += _timed({name: forward_pass(model, inputs) for name, model in surrounded.items()}, "torch", batch)
        ready = {name: partial(run, inputs) for name, run in sessions.items() if not isinstance(run, str)}
        timings += _timed(ready, "ONNX Runtime", batch)
    why = reasons(timings, networks, checkpoint.spec.input, hints=not in_multiples(checkpoint))
    return Speed(tuple(timings), tuple(dict.fromkeys([*why, *notes])), "cpu, one thread")


def _networks(checkpoint: Checkpoint) -> tuple[dict[str, nn.Module], list[str]]:
    """The dense, the masked and the shrunk network, those of them that exist, and why one is missing."""
    plan = Plan.of(checkpoint.edits)
    small, notes = _shrunk(checkpoint) if not plan.kept else (checkpoint.model, [])  # first, as it takes most memory
    networks: dict[str, nn.Module] = {"dense": dense_network(checkpoint).eval()}
    if plan.kept:
        networks["masked"] = grown(checkpoint.model, checkpoint.masks, dense_network(checkpoint), plan.kept)[0].eval()
    elif checkpoint.masks:
        networks["masked"] = checkpoint.model.eval()
    if small is not None:
        networks["shrunk"] = small.eval()
    return networks, notes


def _shrunk(checkpoint: Checkpoint) -> tuple[nn.Module | None, list[str]]:
    """The network that a shrink would make, or why there is none."""
    if not checkpoint.masks:
        return None, ["Nothing is pruned."]
    try:
        small = shrink(checkpoint)
    except PrunectlError as error:
        return None, [f"The network could not be shrunk: {error}."]
    if not small.history[-1].result["removed"]:
        return None, ["Every node keeps some weight, so `prunectl shrink` has nothing to remove."]
    return small.model, []


def _timed(runs: Mapping[str, Callable[[], object]], runtime: str, batch: int) -> list[Timing]:
    taken = seconds_in_turns(runs, at_least_s=_SECONDS * len(runs), rounds=_ROUNDS)
    return [_timing(name, runtime, batch, seconds) for name, seconds in taken.items()]


def _timing(name: str, runtime: str, batch: int, seconds: list[float]) -> Timing:
    low, _, high = quantiles(seconds, n=4)
    return Timing(name, runtime, batch, median(seconds), low, high, len(seconds))
