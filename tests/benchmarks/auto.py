"""`prune --criterion auto` beside each single criterion with a repair: accuracy on test images, and time.

Run as `python -m tests.benchmarks.auto --out FILE.jsonl --work FOLDER [--networks lenet5,mlp5,resnet,vit] [--seeds 0,1]
[--targets 0.98,flops=4x]`; a run with the same FILE goes on where it stopped. Trained networks are kept in FOLDER;
most are those of `tests.benchmarks.rankings`. `--markdown FILE..` prints the table. Seconds are of the processor.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from prunectl.checkpoints.checkpoint import Checkpoint, read, write
from prunectl.checkpoints.options.pruning import AUTO
from prunectl.checkpoints.options.training import Recipe
from prunectl.data.images import ImageData
from prunectl.errors import PrunectlError
from prunectl.models.fresh import fresh
from prunectl.pruning.budget import Budget
from prunectl.pruning.candidates import CANDIDATES, Candidate
from prunectl.pruning.prune import prune
from prunectl.pruning.rules import NodeRules
from prunectl.training.train import train
from tests.benchmarks import rankings

NETWORKS = ("lenet5", "mlp5", "resnet", "vit")
TARGETS = ("0.95", "0.98", "flops=2x", "flops=4x")
SINGLES = {
    "weights": (
        *CANDIDATES["weights"],
        *(Candidate("snip"), Candidate("cnip"), Candidate("magnitude", scope="layer"), Candidate("random")),
    ),
    "nodes": (
        *CANDIDATES["nodes"],
        *(Candidate("taylor"), Candidate("fisher"), Candidate("fpgm"), Candidate("hrank"), Candidate("chip")),
        *(Candidate("network-slimming"), Candidate("magnitude", unit="nodes"), Candidate("structured-random")),
    ),
}
"""The candidates of `auto`, and criteria that it leaves out."""


def trained(network: str, seed: int, work: Path) -> tuple[Checkpoint, ImageData]:
    """A trained network, from the folder where it is there, and its images."""
    data = rankings.images("lenet5" if network == "mlp5" else network)
    if network != "mlp5":
        return rankings.trained(network, seed, data, work), data
    path = work / f"{network}-{seed}.safetensors"
    if not path.exists():
        begun = fresh(network, data, seed=seed, source="digits")
        write(train(begun, data, Recipe(epochs=20, seed=seed, sched="onecycle")), path)
    return read(path, torch.device("cpu")), data


def measured(dense: Checkpoint, data: ImageData, candidate: Candidate, target: str, seed: int) -> dict[str, Any]:
    """Accuracy in percent on the test images after a repair, and seconds."""
    kind, _, text = target.rpartition("=")
    aim: dict[str, Any] = {"budget": Budget.read(kind, text)} if kind else {"sparsity": float(text)}
    begun = time.process_time()
    found = prune(
        dense,
        data,
        criterion=candidate.criterion,
        unit=candidate.unit,
        scope=candidate.scope,
        rules=NodeRules(normalize=candidate.normalize),
        repair="refit",
        seed=seed,
        **aim,
    )
    seconds = time.process_time() - begun
    record = {"accuracy": rankings.percent(found, data), "seconds": seconds}
    tried = found.history[-1].result.get("tried")
    return record if tried is None else {**record, "kept": next(t["candidate"] for t in tried if t["kept"])}


def jobs(args: argparse.Namespace) -> Iterator[tuple[Candidate, dict[str, Any]]]:
    """`auto` and every single criterion, for each network, seed and target."""
    for network in args.networks:
        for target in args.targets:
            for seed in map(int, args.seeds):
                for candidate in (Candidate(AUTO), *SINGLES["nodes" if "=" in target else "weights"]):
                    yield (
                        candidate,
                        {"network": network, "target": target, "seed": seed, "criterion": str(candidate)},
                    )


def key(record: dict[str, Any]) -> tuple[Any, ...]:
    """What a record is of."""
    return tuple(record[name] for name in ("network", "target", "seed", "criterion"))


def markdown(paths: list[Path]) -> Iterator[str]:
    """A row for each network, target and seed: `auto`, the best and the median single criterion, and the time."""
    yield "| network | target | seed | auto | kept | best single | | median single | auto / mean single, seconds |"
    yield "|---|---|--:|--:|---|--:|---|--:|--:|"
    found = [record for record in rankings.records_in(paths) if "refused" not in record]
    for case in dict.fromkeys(key(record)[:3] for record in found):
        own = [record for record in found if key(record)[:3] == case]
        chosen = [record for record in own if record["criterion"] == AUTO]
        singles = sorted((r for r in own if r["criterion"] != AUTO), key=lambda record: -record["accuracy"])
        if not chosen or not singles:
            continue
        (auto,), best = chosen, singles[0]
        times = auto["seconds"] / statistics.mean(record["seconds"] for record in singles)
        median = statistics.median(record["accuracy"] for record in singles)
        yield (
            f"| {' | '.join(map(str, case))} | {auto['accuracy']:.2f} | {auto['kept']} | {best['accuracy']:.2f} "
            f"| {best['criterion']} | {median:.2f} | {times:.1f} |"
        )


def main() -> None:
    """Measure what is missing, or print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--markdown", type=Path, nargs="+")
    for name, values in {"networks": NETWORKS, "targets": TARGETS, "seeds": "0"}.items():
        parser.add_argument(f"--{name}", type=lambda text: text.split(","), default=list(values))
    args = parser.parse_args()
    if args.markdown:
        print("\n".join(markdown(args.markdown)))
        return
    os.environ["PRUNECTL_TRUST"] = "1"  # the networks of `rankings`
    torch.set_num_threads(1)
    done = {key(record) for record in rankings.records_in([args.out])}
    for candidate, job in jobs(args):
        if key(job) in done:
            continue
        dense, data = trained(job["network"], job["seed"], args.work)
        try:
            record = {**job, **measured(dense, data, candidate, job["target"], job["seed"])}
        except PrunectlError as error:
            record = {**job, "refused": str(error)}
        with args.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
