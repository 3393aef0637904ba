"""The rows of a report: plain values, one row per checkpoint."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from prunectl.checkpoints.options.runtimes import EAGER
from prunectl.checkpoints.results import data_name
from prunectl.reporting.history import pruning_method, step
from prunectl.reporting.sources import Source, Sources, collect

ReportRow = dict[str, Any]
"""The values of one checkpoint by column; None if not measured."""
COLUMNS = (
    "checkpoint",
    "model",
    "data",
    "criterion",
    "target_sparsity",
    "seed",
    "steps",
    "accuracy",
    "top5",
    "loss",
    "weight_sparsity",
    "compression",
    "node_sparsity",
    "weights",
    "flops",
    "nonzero_flops",
    "speedup",
    "training_flops",
    "bytes",
    "compressed_bytes",
    "latency_1_s",
    "latency_64_s",
    "latency_compiled_1_s",
    "latency_compiled_64_s",
    "latency_onnx_1_s",
    "latency_onnx_64_s",
    "robust",
)


def report(paths: Sequence[str | Path], *, parents: bool = False) -> list[ReportRow]:
    """One row of plain values per checkpoint, in the given order; None for values that were not measured.

    Only results measured on exactly this file count; the last of several is used. With `parents`, the ancestors of each
    checkpoint in its folder come before it.

    Raises:
        FileError, CheckpointError: a checkpoint is missing or damaged.
    """
    return rows(collect(paths, parents=parents))


def rows(sources: Sources) -> list[ReportRow]:
    """The rows of the checkpoints in `sources.given`.

    `compression` is the prunable weights of the dense network divided by the kept ones. `speedup` is theoretical: the
    dense FLOPs divided by those without pruned weights. `training_flops` counts all trainings that led to the network.
    """
    return [row_of(source, sources.lineage.get(source.path, ())) for source in sources.given]


def row_of(source: Source, lineage: Sequence[Source]) -> ReportRow:
    """The row of one checkpoint."""
    seen, measured = source.seen or {}, source.measured
    how = pruning_method(source.history)
    dense = seen.get("dense") or measured.get("dense") or {}
    weights = seen.get("weights", measured.get("weights"))
    latency = _latency(measured)
    return {
        "checkpoint": str(source.path),
        "model": seen.get("model"),
        "data": data_name(measured["data"]) if measured else seen.get("data"),
        "criterion": how.criterion,
        "target_sparsity": how.target if isinstance(how.target, float) else None,
        "seed": how.seed,
        "steps": " ".join(step(entry) for entry in source.history),
        **{key: measured.get(key) for key in ("accuracy", "top5", "loss")},
        "node_sparsity": measured.get("node_sparsity", _node_sparsity(source)),
        "weight_sparsity": seen.get("weight_sparsity", measured.get("weight_sparsity")),
        "compression": _times(dense.get("weights"), weights),
        "weights": weights,
        "flops": _flops(seen) if seen else measured.get("flops"),
        "nonzero_flops": measured.get("nonzero_flops"),
        "speedup": _times(dense.get("flops"), measured.get("nonzero_flops")),
        "training_flops": training_flops(source, lineage),
        "bytes": sum(tensor["bytes"] for tensor in seen["tensors"]) if seen else measured.get("bytes"),
        "compressed_bytes": measured.get("compressed_bytes"),
        **{key: latency.get(key) for key in COLUMNS if key.startswith("latency_")},
        "robust": _robust(source) or None,
    }


def training_flops(source: Source, lineage: Sequence[Source]) -> int | None:
    """FLOPs of all trainings that led to a network, from their logs; None if a log or an ancestor is missing.

    Scoring is not counted: a round takes 5 batches, a training thousands.
    """
    spent = 0
    by_length = {len(one.history): one for one in (*lineage, source)}
    for i, entry in enumerate(source.history, 1):
        if entry.command == "train":
            one = by_length.get(i)
            if one is None or not one.log or "training_flops" not in one.log[-1]:
                return None
            spent += one.log[-1]["training_flops"]
    return spent or None


def attack_name(record: dict[str, Any]) -> str:
    """The name of an attack with everything that differs from its defaults.

    These are the norm, options, a target, the source network of a transfer, fewer images, held-out images.
    """
    options = "".join(f" {key}={value}" for key, value in sorted(record.get("options", {}).items()))
    norm = record.get("norm")
    kind = "" if norm in (None, "linf") or str(norm) in record["attack"] else f" ({norm})"
    aim = f" aimed at {record['target']}" if "target" in record else ""
    origin = f" from {record['source'][:8]}" if record.get("source") else ""
    return f"{record['attack']}{kind}{options}{aim}{origin}{images_of(record)}"


def images_of(record: dict[str, Any]) -> str:
    """The images of a record, if they are not the whole test set."""
    done, there = record.get("images"), record.get("test_images")
    fewer = f" on {done} of {there} images" if done != there else ""
    return fewer + (" held out" if record.get("data", {}).get("tuning") else "")


def _robust(source: Source) -> dict[str, list[dict[str, Any]]]:
    """The results of each attack, sorted by ε; the last of several at one ε."""
    attacks: dict[str, dict[float, dict[str, Any]]] = {}
    for record in source.attacks:
        results = {result["eps"]: result for result in record.get("results", [])}
        if results:
            attacks.setdefault(attack_name(record), {}).update(results)
    return {name: [found[e] for e in sorted(found)] for name, found in attacks.items()}


def parameters_left(seen: dict[str, Any]) -> int:
    """All parameters of a network, including norms and biases, without the pruned ones."""
    there = parameters_stored(seen)
    if there == seen["dense"]["parameters"]:  # no nodes were removed
        return int(there - seen["dense"]["weights"] + seen["weights"])
    return int(there - sum(prod(tensor["shape"]) - tensor["kept"] for tensor in seen["tensors"]))


def _latency(measured: dict[str, Any]) -> dict[str, float]:
    """Median seconds by column; those of plain torch have no runtime in the name."""
    found = {}
    for entry in measured.get("latency", []):
        runtime = entry.get("runtime", EAGER)
        found["_".join(["latency", *([] if runtime == EAGER else [runtime]), f"{entry['batch']}_s"])] = entry[
            "median_s"
        ]
    return found


def parameters_stored(seen: dict[str, Any]) -> int:
    """All parameters in the file, including pruned ones stored as zeros."""
    results = [entry.get("result", {}) for entry in seen["history"]]
    there = (result["parameters"] for result in reversed(results) if "parameters" in result)
    return int(next(there, seen["dense"]["parameters"]))


def _node_sparsity(source: Source) -> float | None:
    """The node sparsity of the last command that pruned nodes, if nothing was measured."""
    return next((e.result["node_sparsity"] for e in reversed(source.history) if "node_sparsity" in e.result), None)


def _times(dense: int | None, now: int | None) -> float | None:
    return dense / now if dense and now else None


def _flops(seen: dict[str, Any]) -> int:
    """FLOPs per image as executed: recorded by the last command that removed nodes, else those of the dense network."""
    results = [entry.get("result", {}) for entry in seen["history"]]
    return int(next((r["flops"] for r in reversed(results) if "nodes" in r), seen["dense"]["flops"]))
