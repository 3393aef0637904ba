"""Speed of the dense, the masked and the shrunk network side by side, in torch and in ONNX Runtime."""

from collections.abc import Callable, Mapping
from statistics import median, quantiles

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.pixels import deployed
from prunectl.errors import PrunectlError
from prunectl.measuring.latency import LATENCY_BATCHES, seconds_in_turns
from prunectl.measuring.onnx import Session
from prunectl.measuring.runtimes import forward_pass
from prunectl.measuring.widths import in_multiples
from prunectl.pruning.shrink import shrink
from prunectl.reporting.findings import Speed, Timing
from prunectl.reporting.network.layers import dense_network
from prunectl.reporting.network.onnx import session
from prunectl.reporting.network.reasons import reasons
from prunectl.structure.surgery.cut import grown
from prunectl.structure.surgery.plan import Plan
from prunectl.torchtools.copies import without_values

_SECONDS = 0.4
"""Seconds for each network, batch size and runtime."""
_ROUNDS = 9


def speed(checkpoint: Checkpoint) -> Speed:
    """Time all networks in turns, for batches of 1 and 64, on one CPU thread."""
    networks, notes = _networks(checkpoint)
    timings = _timed({name: deployed(model) for name, model in networks.items()}, "torch", checkpoint.spec.input)
    sessions: dict[str, Session] = {}
    for name in networks:  # each takes the memory of a network that has been timed
        made = session(deployed(networks[name]), checkpoint.spec.input)
        networks[name] = without_values(networks[name])
        if isinstance(made, str):
            notes.append(made)
        else:
            sessions[name] = made
    timings = sorted([*timings, *_timed(sessions, "ONNX Runtime", checkpoint.spec.input)], key=lambda t: t.batch)
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


def _timed(
    networks: Mapping[str, Callable[[Tensor], object]], runtime: str, shape: tuple[int, int, int]
) -> list[Timing]:
    """Time all networks in turns, on each size of a batch."""
    found = []
    for batch in LATENCY_BATCHES:
        inputs = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(0))
        runs = {name: forward_pass(network, inputs) for name, network in networks.items()}
        taken = seconds_in_turns(runs, at_least_s=_SECONDS * len(runs), rounds=_ROUNDS)
        found += [_timing(name, runtime, batch, seconds) for name, seconds in taken.items()]
    return found


def _timing(name: str, runtime: str, batch: int, seconds: list[float]) -> Timing:
    low, _, high = quantiles(seconds, n=4)
    return Timing(name, runtime, batch, median(seconds), low, high, len(seconds))
