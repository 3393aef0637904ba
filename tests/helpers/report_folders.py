"""Folders of checkpoints with results and logs, written by hand in a moment."""

import hashlib
import json
import struct
from pathlib import Path

from prunectl.checkpoints.header import KEY, DenseCounts, Header, ModelSpec
from prunectl.checkpoints.history import HistoryEntry

DENSE = DenseCounts(parameters=110, weights=100, nodes=10, flops=1000)
VERSIONS = {"prunectl": "0.1.0", "torch": "2.14"}
TRAIN = {"epochs": 3, "steps": 36, "total_steps": 36}


def checkpoint(
    folder: Path,
    name: str,
    *steps: tuple[str, dict],
    weights: int = 100,
    data: str = "digits",
    versions: dict[str, str] = VERSIONS,
) -> Path:
    """A checkpoint of 100 prunable weights; each step's parent is the file of the steps before, where there is one."""
    history: list[dict] = []
    for command, options in steps:
        parent = _hash_of(folder, history)
        history.append({"command": command, "options": options, "versions": versions, "parent": parent})
    head = Header(ModelSpec("lenet5", (1, 8, 8), 10), data, (0.5,), (0.5,), DENSE, weights, history=_entries(history))
    table = {"__metadata__": {KEY: head.to_json()}, "w": {"dtype": "F32", "shape": [100], "data_offsets": [0, 400]}}
    text = json.dumps(table).encode()
    path = folder / f"{name}.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(400))
    return path


def _entries(history: list[dict]) -> tuple[HistoryEntry, ...]:
    return tuple(HistoryEntry(**entry) for entry in history)


def _hash_of(folder: Path, history: list[dict]) -> str | None:
    """The file in the folder that has this history."""
    for file in folder.glob("*.safetensors"):
        length = struct.unpack("<Q", file.read_bytes()[:8])[0]
        head = json.loads(json.loads(file.read_bytes()[8 : 8 + length])["__metadata__"][KEY])
        if history and head["history"] == history:
            return hashlib.sha256(file.read_bytes()).hexdigest()
    return None if not history else "f" * 64


def measure(path: Path, accuracy: float, *, kept: int = 100, robust: dict[float, float] | None = None, **more) -> None:
    """Results of eval and, where given, of fgsm, and a log of a training at 1000 FLOPs an image."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    confusion = [[9, 1], [0, 10]]
    record = {
        "command": "eval",
        "checkpoint": digest,
        "data": {"name": "digits"},
        "accuracy": accuracy,
        "top5": 1.0,
        "loss": 0.5,
        "per_class": {"cat": 0.9, "dog": 1.0},
        "confusion": confusion,
        "node_sparsity": 0.0,
        "nonzero_flops": 10 * kept,
        "compressed_bytes": 4 * kept,
        "latency": [{"batch": 1, "median_s": 0.001}, {"batch": 64, "median_s": 0.02}],
        "device": "cpu",
        **more,
    }
    results = [{"eps": e, "robust_accuracy": a, "success": 0.5} for e, a in (robust or {}).items()]
    attack = {"command": "attack", "checkpoint": digest, "attack": "fgsm", "results": results}
    lines = [record, *([attack] if results else [])]
    base = path.name.removesuffix(".safetensors")
    path.with_name(f"{base}.results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    log(path, accuracy)


def log(path: Path, accuracy: float, flops: int = 3000) -> None:
    """Three epochs."""
    base = path.name.removesuffix(".safetensors")
    records = [
        {
            "step": 12 * i,
            "images": 100,
            "loss": 1 / i,
            "accuracy": accuracy * i / 3,
            "eval_accuracy": accuracy * i / 3,
            "eval_loss": 1 / i,
            "lr": 0.002,
            "weight_sparsity": 0.0,
            "training_flops": flops * i // 3,
            "seconds": float(i),
            "memory_bytes": 10**8,
        }
        for i in (1, 2, 3)
    ]
    path.with_name(f"{base}.log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def sweep(
    folder: Path,
    criteria: tuple[str, ...] = ("magnitude", "random"),
    sparsities: tuple[float, ...] = (0.5, 0.75, 0.9, 0.95, 0.98),
    seeds: tuple[int, ...] = (0, 1, 2),
) -> list[Path]:
    """Dense networks, and for every criterion the same trained ones pruned and trained again."""
    made = []
    for seed in seeds:
        train = ("train", {**TRAIN, "seed": seed})
        made.append(checkpoint(folder, f"dense-s{seed}", train))
        measure(made[-1], 0.9 + seed / 100, robust={0.1: 0.5})
        for criterion in criteria:
            for sparsity in sparsities:
                prune = ("prune", {"criterion": criterion, "sparsity": sparsity, "seed": seed})
                kept = round(100 * (1 - sparsity))
                checkpoint(folder, f"{criterion}-{sparsity}-s{seed}.pruned", train, prune, weights=kept)
                path = checkpoint(folder, f"{criterion}-{sparsity}-s{seed}", train, prune, train, weights=kept)
                less = sparsity / (10 if criterion == "magnitude" else 2)
                measure(path, 0.9 + seed / 100 - less, kept=kept, robust={0.1: 0.5 - less})
                made.append(path)
    return made
