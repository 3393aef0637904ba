"""Asked and reached: every criterion at four sparsities on conv6 and resnet18, as it is meant to be run.

Run as `python -m tests.benchmarks.targets DATA [--out FILE.jsonl] [--networks conv6,resnet18]`; DATA such as
`imagefolder:PATH` or `cifar10` holds 3x32x32 images of 10 classes, of which 64 are taken: what is reached does not
depend on what is learnt. A run with the same FILE goes on where it stopped; `--markdown FILE` prints the table. *off*
is the difference in weights, or nodes, between asked and reached; n:m takes half of the layers whose inputs come in
fours.
"""

import argparse
import inspect
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.checkpoints.options.training import Recipe
from prunectl.criteria.base.criterion import criterion_named
from prunectl.data.images import ImageData
from prunectl.data.load import load_data
from prunectl.models.fresh import fresh
from prunectl.plugins.registry import TABLES
from prunectl.pruning.prune import prune
from prunectl.training.train import train

SPARSITIES = (0.3, 0.5, 0.9, 0.98)
ROUNDS = 3


def reached(name: str, begun: Checkpoint, sparsity: float, data: ImageData) -> dict[str, Any]:
    """What the history says that a criterion reached, in `prune` or, where it is for training, in `train`."""
    method = criterion_named(name)
    options = {"batches": "1"} if "batches" in inspect.signature(method.scorer).parameters else {}
    target = None if ":" in method.scope else sparsity  # a pattern is a target of its own
    if method.when != "during":
        whole = prune(begun, data, criterion=name, sparsity=target, batch_size=32, options=options)
    else:
        plan = GradualPruning(name, sparsity, prune_delay=0, prune_every=1, steps=ROUNDS, options=options)
        whole = train(begun, data, Recipe(epochs=ROUNDS + 3, batch_size=32, prune=plan))
    result: dict[str, Any] = whole.history[-1].result
    return result


def record(name: str, network: str, sparsity: float, data: ImageData) -> dict[str, Any]:
    """One line: what was asked and reached, and by how many weights or nodes they differ."""
    begun = fresh(network, data, source="benchmark")
    unit = "node" if criterion_named(name).unit == "nodes" else "weight"
    total = (begun.dense.nodes or 0) if unit == "node" else begun.dense.weights
    line = {"criterion": name, "network": network, "unit": unit, "asked": sparsity}
    try:
        found = reached(name, begun, sparsity, data)[f"{unit}_sparsity"]
    except Exception as error:
        return {**line, "error": f"{type(error).__name__}: {error}"}
    return {**line, "reached": found, "off": round(found * total) - round(sparsity * total)}


def markdown(records: list[dict[str, Any]]) -> Iterator[str]:
    """One row for each criterion and network."""
    yield f"| criterion | network | unit | {' | '.join(f'{s}' for s in SPARSITIES)} | off |"
    yield f"|---|---|---|{'--:|' * (len(SPARSITIES) + 1)}"
    for key in dict.fromkeys((r["criterion"], r["network"], r["unit"]) for r in records):
        rows = {r["asked"]: r for r in records if (r["criterion"], r["network"], r["unit"]) == key}
        cells = [f"{rows[s]['reached']:.6f}" if "reached" in rows.get(s, {}) else "-" for s in SPARSITIES]
        off = max((abs(r["off"]) for r in rows.values() if "off" in r), default="-")
        errors = "; ".join(f"{s}: {r['error']}" for s, r in rows.items() if "error" in r)
        yield f"| {' | '.join(key)} | {' | '.join(cells)} | {errors or off} |"


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--out", type=Path, default=Path("targets.jsonl"))
    parser.add_argument("--networks", default="conv6,resnet18")
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    if args.markdown:
        print("\n".join(markdown([json.loads(line) for line in args.markdown.read_text().splitlines()])))
        return
    data = load_data(args.data).subset(64, seed=0)
    data = replace(data, test=data.test.take(torch.arange(64)))
    done = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    seen = {(r["criterion"], r["network"], r["asked"]) for r in done}
    for network in args.networks.split(","):
        for name in TABLES["criterion"]:
            for sparsity in (0.5,) if name == "n:m" else SPARSITIES:
                if (name, network, sparsity) not in seen:
                    made = record(name, network, sparsity, data)
                    with args.out.open("a") as file:
                        file.write(json.dumps(made) + "\n")
                    print(made, flush=True)


if __name__ == "__main__":
    main()
