"""report: checkpoints side by side, from their headers and results files, without torch."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunectl.budget import UNITS as BUDGETS
from prunectl.files import sha256
from prunectl.header import SUFFIXES, beside, read_header
from prunectl.inspect import inspect

COLUMNS = (
    "checkpoint",
    "model",
    "data",
    "steps",
    "accuracy",
    "top5",
    "loss",
    "weight_sparsity",
    "node_sparsity",
    "weights",
    "flops",
    "nonzero_flops",
    "bytes",
    "compressed_bytes",
    "latency_1_s",
    "latency_64_s",
    "robust",
)


def report(paths: Sequence[Path], *, parents: bool = False) -> list[dict[str, Any]]:
    """One row of plain values for every checkpoint, in the order given; what was not measured is None.

    A measurement counts when it was taken on the very bytes of the checkpoint; of several the last one counts. With
    `parents`, the checkpoints that each one came from stand before it, as far as they lie in its folder.

    Raises:
        FileError, CheckpointError: a checkpoint is missing or damaged.
    """
    chosen = [ancestor for path in paths for ancestor in (_lineage(path) if parents else [path])]
    return [_row(path) for path in dict.fromkeys(chosen)]


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Comma-separated, one line of column names; `robust` as `attack@eps=accuracy` parts."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(
            ["" if row[key] is None else _robust_text(row) if key == "robust" else row[key] for key in COLUMNS]
        )
    return text.getvalue().rstrip("\n")


def as_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table for a README."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        cells = [_robust_text(row) if key == "robust" else _cell(row[key]) for key in COLUMNS]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _row(path: Path) -> dict[str, Any]:
    """What is known of one checkpoint."""
    seen = inspect(path)
    records = _records(path, sha256(path))
    measured: dict[str, Any] = next((r for r in reversed(records) if r["command"] == "eval"), {})
    attacks: dict[str, dict[float, dict[str, Any]]] = {}
    for record in records:
        if record["command"] == "attack":
            attacks.setdefault(_attack_name(record), {}).update({r["eps"]: r for r in record["results"]})
    latency = {entry["batch"]: entry["median_s"] for entry in measured.get("latency", [])}
    return {
        "checkpoint": str(path),
        "model": seen["model"],
        "data": _data_name(measured["data"]) if measured else seen["data"],
        "steps": " ".join(_step(entry) for entry in seen["history"]),
        **{key: measured.get(key) for key in ("accuracy", "top5", "loss", "node_sparsity")},
        "weight_sparsity": seen["weight_sparsity"],
        "weights": seen["weights"],
        "flops": _flops(seen),
        "nonzero_flops": measured.get("nonzero_flops"),
        "bytes": sum(tensor["bytes"] for tensor in seen["tensors"]),
        "compressed_bytes": measured.get("compressed_bytes"),
        "latency_1_s": latency.get(1),
        "latency_64_s": latency.get(64),
        "robust": {name: [found[e] for e in sorted(found)] for name, found in attacks.items()} or None,
    }


def _attack_name(record: dict[str, Any]) -> str:
    """An attack with what makes its numbers differ from those under its defaults: options, fewer images, held out."""
    options = "".join(f" {key}={value}" for key, value in sorted(record.get("options", {}).items()))
    done, there = record.get("images"), record.get("test_images")
    fewer = f" on {done} of {there} images" if done != there else ""
    return f"{record['attack']}{options}{fewer}" + (" held out" if record.get("data", {}).get("tuning") else "")


def _data_name(described: dict[str, Any]) -> str:
    """A dataset's name, and whether held-out training images stood for the test set."""
    return str(described["name"]) + (" (held out)" if described.get("tuning") else "")


def _flops(seen: dict[str, Any]) -> int:
    """FLOPs per image as executed: those of what last removed nodes, else of the dense network."""
    results = [entry.get("result", {}) for entry in seen["history"]]
    return int(next((r["flops"] for r in reversed(results) if "nodes" in r), seen["dense"]["flops"]))


def _records(path: Path, digest: str) -> list[dict[str, Any]]:
    """The results of this very file; lines that do not read (cut off by a kill) are left out."""
    results = beside(path, ".results.jsonl")
    found = []
    for line in results.read_text(encoding="utf-8").splitlines() if results.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("checkpoint") == digest:
            found.append(record)
    return found


def _lineage(path: Path) -> list[Path]:
    """The checkpoints that led to this one, oldest first, found by hash in its folder; it comes last."""
    wanted = {entry.get("parent") for entry in read_header(path)[0].history} - {None}
    if not wanted:
        return [path]
    files = [f for f in path.absolute().parent.iterdir() if f.name.endswith(SUFFIXES) and ".mask." not in f.name]
    files = [f for f in files if f.is_file()]
    by_hash = {digest: path.parent / file.name for file in files if (digest := sha256(file)) in wanted}
    order = [entry.get("parent") for entry in read_header(path)[0].history]
    return [*(by_hash[parent] for parent in order if parent in by_hash), path]


def _step(entry: dict[str, Any]) -> str:
    """One command of a history in a word or two."""
    options = entry.get("options", {})
    if entry["command"] == "prune":
        budgets = [f"{kind} {options[kind]}" for kind in BUDGETS if kind in options]
        return f"prune({options.get('criterion')} {budgets[0] if budgets else options.get('sparsity')})"
    if entry["command"] == "train":
        steps, total, epochs = options.get("steps", 0), options.get("total_steps", 0), options.get("epochs", 0)
        pruning = f" {options['criterion']} {options['sparsity']}" if "criterion" in options else ""
        return f"train({epochs if steps == total else f'{epochs * steps / total:.1f} of {epochs}'}{pruning})"
    return str(entry["command"])


def _robust_text(row: dict[str, Any]) -> str:
    """Robust accuracies in one cell."""
    attacks: dict[str, list[dict[str, Any]]] = row["robust"] or {}
    parts = [f"{name}@{r['eps']:.4g}={r['robust_accuracy']:.4f}" for name, results in attacks.items() for r in results]
    return " ".join(parts)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
