"""Compares the speed of the dense, the masked and the shrunk network, in torch and in ONNX Runtime."""

from statistics import median, quantiles

from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.pixels import deployed
from prunectl.errors import PrunectlError
from prunectl.measuring.widths import in_multiples
from prunectl.pruning.shrink import shrink
from prunectl.reporting.findings import Speed, Timing
from prunectl.reporting.network.layers import dense_network
from prunectl.reporting.network.onnx import seconds_in_onnx
from prunectl.reporting.network.reasons import reasons
from prunectl.reporting.network.seconds import Seconds, seconds
from prunectl.structure.surgery.cut import grown
from prunectl.structure.surgery.plan import Plan
from prunectl.torchtools.freed import give_back


def speed(checkpoint: Checkpoint) -> Speed:
    """Time all networks in turns, for batches of 1 and 64, on one CPU thread; large ones lose their values."""
    networks, notes = _networks(checkpoint)
    give_back()
    shape = checkpoint.spec.input
    timings = _timings("torch", seconds({name: deployed(model) for name, model in networks.items()}, shape))
    in_onnx = seconds_in_onnx(networks, shape)
    if isinstance(in_onnx, str):
        notes.append(in_onnx)
    else:
        timings += _timings("ONNX Runtime", in_onnx)
    timings.sort(key=lambda timing: timing.batch)
    why = reasons(timings, networks, shape, hints=not in_multiples(checkpoint))
    is_shrunk = bool(Plan.of(checkpoint.edits).kept)
    return Speed(tuple(timings), tuple(dict.fromkeys([*why, *notes])), "cpu, one thread", is_shrunk)


def _networks(checkpoint: Checkpoint) -> tuple[dict[str, nn.Module], list[str]]:
    """The dense, the masked and the shrunk network, as far as they exist, and why one is missing."""
    plan = Plan.of(checkpoint.edits)
    small, notes = _shrunk(checkpoint) if not plan.kept else (checkpoint.model, [])  # first: it needs most memory
    give_back()
    networks: dict[str, nn.Module] = {"dense": dense_network(checkpoint).eval()}
    if plan.kept:
        networks["masked"] = grown(checkpoint.model, checkpoint.masks, dense_network(checkpoint), plan.kept)[0].eval()
    elif checkpoint.masks:
        networks["masked"] = checkpoint.model.eval()
    if small is not None:
        networks["shrunk"] = small.eval()
    return networks, notes


def _shrunk(checkpoint: Checkpoint) -> tuple[nn.Module | None, list[str]]:
    """The result of a shrink, or why there is none."""
    if not checkpoint.masks:
        return None, ["Nothing is pruned."]
    try:
        small = shrink(checkpoint)
    except PrunectlError as error:
        return None, [f"The network could not be shrunk: {error}."]
    if not small.history[-1].result["removed"]:
        return None, ["Every node keeps some weight, so `prunectl shrink` has nothing to remove."]
    return small.model, []


def _timings(runtime: str, taken: Seconds) -> list[Timing]:
    """Medians and quartiles."""
    found = []
    for (name, batch), every in taken.items():
        low, _, high = quantiles(every, n=4)
        found.append(Timing(name, runtime, batch, median(every), low, high, len(every)))
    return found
