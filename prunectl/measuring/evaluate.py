"""evaluate: measures the accuracy and the cost of a network."""

from collections.abc import Callable, Sequence
from typing import Any

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.original_shapes import expanded, nodes_present
from prunectl.data.images import ImageData
from prunectl.errors import DataError, OptionError
from prunectl.measuring.accuracy import accuracy
from prunectl.measuring.cost import cost
from prunectl.measuring.latency import LATENCY_BATCHES, latencies, latency
from prunectl.measuring.memory import peak_memory, stored_bytes
from prunectl.measuring.runtimes import check_available
from prunectl.structure.count import count_cut_off
from prunectl.torchtools.contexts import precision


def evaluate(
    checkpoint: Checkpoint,
    data: ImageData,
    *,
    batch_size: int | None = None,
    amp: bool = False,
    with_latency: bool = True,
    runtimes: Sequence[str] = (),
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Evaluate on the test images of `data`; returns one record of plain values, all counts per image.

    Batches and `amp` are as in `accuracy`; latency is measured in the network's own type. `flops` is what the network
    executes (2 x multiply-accumulates), `nonzero_flops` leaves out pruned weights: a bound on the savings of sparse
    hardware. Sparsities refer to the original dense network. Latency is measured in plain torch, or in each of
    `runtimes`, in turns. `report` is called with the current measurement.

    Raises:
        DataError: the images do not fit the network, or there are none.
        OptionError, StructureError: a runtime cannot run the network, or is not installed.
    """
    spec = checkpoint.spec
    for runtime in runtimes:
        check_available(runtime, checkpoint.device)
    data.check_fits(spec.input, spec.classes, spec.name)
    checkpoint.check_held_out(data)
    if not len(data.test):
        raise DataError(f"{data.name} has no test images; use other `data`")
    images = data.test.to(checkpoint.device)
    say = report or (lambda _: None)
    say("accuracy")
    result, memory = peak_memory(
        checkpoint.device,
        lambda: accuracy(
            checkpoint.model, images, checkpoint.preprocessing, classes=spec.classes, batch_size=batch_size, amp=amp
        ),
    )
    say("size and FLOPs")
    record: dict[str, Any] = {
        "data": data.described,
        "images": len(images),
        **result.as_record(data.classes),
        **costs(checkpoint),
        "device": str(checkpoint.device),
        "precision": precision(checkpoint.model, amp=amp),
        "peak_memory_bytes": memory,
    }
    warnings = checkpoint.doubts_of(data)
    if warnings:
        record["warnings"] = warnings
    if with_latency:
        say(f"latency in {', '.join(runtimes)}" if runtimes else "latency")
        alone = [] if runtimes else [latency(checkpoint.model, spec.input, batch) for batch in LATENCY_BATCHES]
        record["latency"] = alone or latencies(checkpoint.model, spec.input, runtimes)
    return record


def costs(checkpoint: Checkpoint) -> dict[str, Any]:
    """Weights, nodes, sparsities, FLOPs and bytes of a network, and those of its dense original."""
    counted = cost(checkpoint.model, checkpoint.masks, checkpoint.spec.input)
    nodes, present = _nodes(checkpoint)
    dense = checkpoint.dense
    whole, packed = stored_bytes(checkpoint.model, checkpoint.masks)
    return {
        "parameters": counted.parameters,
        "weights": counted.kept,
        "weight_sparsity": 1 - counted.kept / dense.weights,
        "nodes": nodes,
        "nodes_present": present,
        "node_sparsity": None if nodes is None or not dense.nodes else 1 - nodes / dense.nodes,
        "macs": counted.flops // 2,
        "flops": counted.flops,
        "nonzero_flops": counted.nonzero_flops,
        "bytes": whole,
        "compressed_bytes": packed,
        "dense": {
            "parameters": dense.parameters,
            "weights": dense.weights,
            "nodes": dense.nodes,
            "flops": dense.flops,
        },
    }


def _nodes(checkpoint: Checkpoint) -> tuple[int | None, int | None]:
    """The number of nodes on a path of kept weights, and the number in memory."""
    if checkpoint.dense.nodes is None:
        return None, None
    if not checkpoint.masks and not checkpoint.edits:
        return checkpoint.dense.nodes, checkpoint.dense.nodes
    try:
        whole = expanded(checkpoint)
    except OptionError:  # shrunk with --norm alive: it has no masks, so no nodes are cut off
        present = nodes_present(checkpoint)
        return present, present
    cut = count_cut_off(whole.model, checkpoint.spec.input, whole.masks)
    return None if cut is None else whole.nodes - cut, whole.nodes_present
