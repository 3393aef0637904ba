"""What every criterion reaches on real images: mean and standard deviation over seeds, at the last epoch.

Run as `python -m tests.benchmarks.accuracies DATA MODEL --out FILE.jsonl [--epochs 10] [--seeds 0,1,2] [--only NAME,..]
[--sparsities 0.98,..] [--clip NORM] [--device cpu] [--amp] [--minutes N]`; a run with the same FILE goes on where it
stopped, and with `--share` several at a time divide the work. What the minutes cut short is told in FILE.cut.jsonl,
epoch by epoch. `--markdown FILE..` prints the tables. The settings are the authors':
Adam with a learning rate of 0.002, weight decay 5e-5, batches of 512; all of them with `--epochs 80 --clip 10`. Before
training: prune, then train all epochs. During: rounds over the first four tenths of the epochs as they are over the
authors' 80 (after 8 to 32), an epoch apart at least; imp rewound to 6/80 of them; what trims once, or prunes a trained
network, does so at 70/80.
"""

import argparse
import json
import math
import statistics
import time
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
from prunectl.measuring.evaluate import costs, evaluate
from prunectl.models.fresh import fresh
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.training.trainer import Trainer

WEIGHTS, NODES = (0.9, 0.95, 0.98, 0.99), (0.5, 0.75, 0.93)
BEFORE = [
    "snip",
    "snipit",
    "grasp",
    "iterative-grasp",
    "synflow",
    "force",
    "random",
    "erk",
    "magnitude",
    "cnip",
    "cnipit",
]
DURING = ["snipit-during", "imp", "gmp", "rigl", "set", "hoyer-square", "lamp", "cnipit-during"]
BEFORE_NODES = ["snap", "snapit", "structured-grasp", "structured-random"]
TRAINED_NODES = ["taylor", "network-slimming", "efficient-convnets"]
DURING_NODES = ["snapit-during", "group-hoyer-square", "l0", "gate-decorators", *TRAINED_NODES]
LATE = ("hoyer-square", "group-hoyer-square", "l0", "lamp", *TRAINED_NODES)


def during(name: str, sparsity: float, epochs: int) -> GradualPruning:
    """The rounds of a criterion in a training of so many epochs."""
    if name in LATE:
        return GradualPruning(name, sparsity, prune_delay=0, prune_every=max(round(epochs * 70 / 80), 1))
    method = criterion_named(name)
    if method.exploration is not None:
        return GradualPruning(name, sparsity, prune_delay=0, prune_every=1)
    rounds = 7 if method.schedule == "snipit" else 5
    rewind = round(epochs * 6 / 80) if method.rewinds else None
    return GradualPruning(
        name,
        sparsity,
        prune_delay=4 if epochs >= 40 else rewind or 0,
        prune_every=max(round(0.4 * epochs / rounds), 1),
        steps=5,
        rewind_to=rewind,
    )


class Cut(Exception):
    """No time is left; the accuracies of the epochs that were done."""


def trained(begun: Checkpoint, data: ImageData, recipe: Recipe, until: float) -> tuple[Checkpoint, list[float]]:
    """A network after training, and what it reached after every epoch.

    Raises:
        Cut: the clock (`time.monotonic`) is past `until`.
    """
    trainer, reached = Trainer(begun, data, recipe), []
    for record in trainer.steps():
        if record and "eval_accuracy" in record:
            reached.append(round(record["eval_accuracy"], 4))
        if time.monotonic() > until and trainer.step < trainer.total_steps:
            raise Cut(reached)
    return trainer.result(), reached


def run(
    name: str, model: str, sparsity: float, data: ImageData, recipe: Recipe, device: str, until: float = math.inf
) -> dict[str, Any]:
    """One training."""
    epochs, seed = recipe.epochs, recipe.seed
    begun = fresh(model, data, source="benchmark", seed=seed).to(torch.device(device))
    started = time.perf_counter()
    if name in [*DURING, *DURING_NODES]:
        recipe = replace(recipe, prune=during(name, sparsity, epochs))
        if name == "network-slimming":
            recipe = replace(recipe, reg="bn-l1", reg_weight=1e-4)  # as its paper has it for VGGNet
    elif name != "dense":
        begun = prune(begun, data, criterion=name, sparsity=sparsity, batch_size=512, seed=seed)
        begun = shrink(begun) if criterion_named(name).unit == "nodes" else begun
    made, reached = trained(begun, data, recipe, until)
    seconds = time.perf_counter() - started
    found, counted = evaluate(made, data, with_latency=False), costs(made)
    keys = ("weight_sparsity", "node_sparsity", "flops", "parameters")
    costs_of = {key: counted[key] for key in keys}
    return {"accuracy": found["accuracy"], "seconds": seconds, "device": device, **costs_of, "accuracies": reached}


def claimed(out: Path, job: tuple[object, ...]) -> bool:
    """Whether this process is the first to take a job of those that share a file."""
    claim = claim_of(out, job)
    claim.parent.mkdir(exist_ok=True)
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def claim_of(out: Path, job: tuple[object, ...]) -> Path:
    """The empty file that says that a process has taken a job."""
    return out.with_suffix(".claims") / "-".join(map(str, job))


def jobs(args: argparse.Namespace) -> Iterator[tuple[str, float, int]]:
    """All runs, the seeds outermost, so that an early stop leaves whole columns."""
    only = args.only.split(",") if args.only else ["dense", *BEFORE, *DURING, *BEFORE_NODES, *DURING_NODES]
    for seed in (int(s) for s in args.seeds.split(",")):
        for name in only:
            unit = "weights" if name == "dense" else criterion_named(name).unit
            levels = (0.0,) if name == "dense" else NODES if unit == "nodes" else WEIGHTS
            for sparsity in levels:
                if name == "dense" or not args.sparsities or str(sparsity) in args.sparsities.split(","):
                    yield name, sparsity, seed


def table(records: list[dict[str, Any]], levels: tuple[float, ...], unit: str) -> Iterator[str]:
    """One row for each criterion that was run, a column for each sparsity."""
    names = [*BEFORE, *DURING] if unit == "weights" else [*BEFORE_NODES, *DURING_NODES]
    there = [name for name in names if any(r["criterion"] == name for r in records)]
    if there:
        yield f"\n| {unit} | {' | '.join(str(level) for level in levels)} |\n|---|{'--:|' * len(levels)}"
    for name in there:
        cells = [accuracy_cell([r for r in records if (r["criterion"], r["sparsity"]) == (name, s)]) for s in levels]
        yield f"| {name} | {' | '.join(cells)} |"


def accuracy_cell(records: list[dict[str, Any]]) -> str:
    """Mean and standard deviation in percent, and the number of seeds where it is not 3."""
    values = [100 * r["accuracy"] for r in records if "accuracy" in r]  # those that were cut short have none
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}" + ("" if len(values) == 3 else f" ({len(values)})")


def markdown(paths: list[Path]) -> Iterator[str]:
    """The tables of all runs."""
    records = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    for key in dict.fromkeys((r["data"], r["model"], r["epochs"]) for r in records):
        chosen = [r for r in records if (r["data"], r["model"], r["epochs"]) == key]
        dense = accuracy_cell([r for r in chosen if r["criterion"] == "dense"])
        yield f"\n### {key[1]} on {key[0]}, {key[2]} epochs\n\nDense: {dense}."
        yield from table(chosen, WEIGHTS, "weights")
        yield from table(chosen, NODES, "nodes")


def main() -> None:
    """Run what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default="")
    parser.add_argument("--sparsities", default="")
    parser.add_argument("--clip", type=float)
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--share", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--markdown", nargs="*", type=Path)
    args = parser.parse_args()
    if args.markdown:
        print("\n".join(markdown(args.markdown)))
        return
    until = time.monotonic() + 60 * args.minutes
    data = load_data(args.data)
    data = data.to(torch.device(args.device))
    done = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    keys = ("criterion", "sparsity", "seed", "model", "epochs")
    seen = {tuple(r[key] for key in keys) for r in done}
    for name, sparsity, seed in jobs(args):
        job = (name, sparsity, seed, args.model, args.epochs)
        if job in seen or (args.share and not claimed(args.out, job)):
            continue
        recipe, out = Recipe(epochs=args.epochs, batch_size=512, clip=args.clip, seed=seed, amp=args.amp), args.out
        try:
            found = run(name, args.model, sparsity, data, recipe, args.device, until)
        except Cut as cut:
            found, out = {"device": args.device, "accuracies": cut.args[0]}, args.out.with_suffix(".cut.jsonl")
        except Exception as error:
            print(f"{name} {sparsity} {seed}: {type(error).__name__}: {error}", flush=True)
            claim_of(args.out, job).unlink(missing_ok=True)
            continue
        with out.open("a") as file:
            file.write(json.dumps({**dict(zip(keys, job, strict=True)), "data": data.name, **found}) + "\n")
        if out != args.out:
            claim_of(args.out, job).unlink(missing_ok=True)
            return
        print(f"{name} {sparsity} seed {seed}: {found['accuracy']:.4f}, {found['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
