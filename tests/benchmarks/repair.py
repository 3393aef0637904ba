"""Accuracy after pruning, without training: as it is, and after `prunectl repair` by each method.

    python -m tests.benchmarks.repair [--network lenet5 --data digits --epochs 20 --seeds 3 -n 1024] [--folder DIR]
    python -m tests.benchmarks.repair --dense FILE --data DATA [--image-size 16] [--label NAME] [--test 2000]
    python -m tests.benchmarks.repair --render

Networks are trained, pruned, repaired and evaluated by the commands, in DIR, where what is there already is not made
again. With `--dense`, one trained network is pruned and repaired under each seed by the functions that the commands
call, so that the seeds differ by the images that score and repair alone; a network is traced once. A line of
repair.jsonl holds one accuracy, and what it holds is not measured again. `--render` fills the tables of REPAIR.md: mean
and standard deviation over the seeds.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint, read
from prunectl.checkpoints.options.repair import RepairOptions
from prunectl.cli import in_process
from prunectl.data.images import ImageData
from prunectl.data.load import load_data
from prunectl.pruning.prune import prune
from prunectl.pruning.repair import repair as repairing
from tests.benchmarks.filled import fill
from tests.benchmarks.rankings import follow_once, percent, records_in

RECORDS = Path(__file__).with_suffix(".jsonl")
PRUNINGS = {
    "lenet5": {
        "lamp 0.95": "-c magnitude --scope lamp -s 0.95",
        "lamp 0.98": "-c magnitude --scope lamp -s 0.98",
        "efficient-convnets, 70 % of nodes": "-c efficient-convnets -s 0.7",
        "taylor, 70 % of nodes": "-c taylor -s 0.7",
    }
}
OTHERS = {
    **{f"lamp {sparsity}": f"-c magnitude --scope lamp -s {sparsity}" for sparsity in (0.8, 0.9, 0.95)},
    **{f"efficient-convnets, {s:.0%} of nodes": f"-c efficient-convnets -s {s}" for s in (0.3, 0.5, 0.7)},
}
"""For any other network."""
NODES = {f"taylor, {s:.0%} of nodes": f"-c taylor -s {s}" for s in (0.3, 0.5, 0.7)}
METHODS = {
    "bn": "--method bn",
    "scale": "--method scale",
    "refit": "--method refit",
    "refit, noise": "--method refit --calibration noise",
}


def run(line: str) -> str:
    """Run a command that must end well; returns stdout."""
    ran = in_process.run(line.split())
    assert ran.code == 0, ran.last
    return ran.out


def made(path: Path, line: str) -> Path:
    """The checkpoint that a command makes, unless it is there."""
    if not path.exists():
        run(f"{line} -o {path}")
    return path


def accuracy(path: Path) -> float:
    """Percent of the test images."""
    return 100 * json.loads(run(f"eval --no-latency --json {path}"))["accuracy"]


Record = dict[str, Any]


def by_commands(chosen: argparse.Namespace, folder: Path, seed: int) -> Iterator[Record]:
    """The accuracies of one seed."""
    prunings = PRUNINGS.get(chosen.network, OTHERS)
    setting = {"network": chosen.network, "data": chosen.data, "epochs": chosen.epochs, "n": chosen.n, "seed": seed}
    begin = f"train --model {chosen.network} --data {chosen.data} --epochs {chosen.epochs} --seed {seed} {chosen.train}"
    dense = made(folder / f"dense{seed}.safetensors", begin)
    yield {**setting, "pruning": "none", "repair": "none", "accuracy": accuracy(dense)}
    for i, (name, how) in enumerate(prunings.items()):
        thin = made(folder / f"dense{seed}.{i}.safetensors", f"prune {dense} {how} --seed {seed}")
        yield {**setting, "pruning": name, "repair": "none", "accuracy": accuracy(thin)}
        for j, (method, flags) in enumerate(METHODS.items()):
            line = f"repair {thin} {flags} -n {chosen.n} --seed {seed}"
            repaired = made(folder / f"dense{seed}.{i}.{j}.safetensors", line)
            yield {**setting, "pruning": name, "repair": method, "accuracy": accuracy(repaired)}


def from_one(chosen: argparse.Namespace, done: set[tuple[Any, ...]]) -> Iterator[Record]:
    """The accuracies of one trained network under every seed that are not there yet."""
    data = load_data(chosen.data, image_size=chosen.image_size)
    some = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))[: chosen.test]
    data, dense = replace(data, test=data.test.take(some)), read(chosen.dense, torch.device("cpu"))
    setting = {"network": dense.spec.name, "data": chosen.label, "n": chosen.n}
    first = {**setting, "seed": chosen.first, "pruning": "none", "repair": "none"}
    if key(first) not in done:
        yield {**first, "accuracy": percent(dense, data)}
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        for name, how in {**OTHERS, **NODES}.items():
            at = {**setting, "seed": seed, "pruning": name}
            missing = [m for m in ("none", *chosen.methods) if key({**at, "repair": m}) not in done]
            if missing:
                thin = pruned(dense, data, how, seed)
            for method in missing:
                found = thin
                if method != "none":
                    options = RepairOptions(method=method, n=chosen.n, seed=seed)
                    found = repairing.repair(thin, data, options, reference=dense)
                yield {**at, "repair": method, "accuracy": percent(found, data)}


def pruned(dense: Checkpoint, data: ImageData, how: str, seed: int) -> Checkpoint:
    """Prune by the options of a command."""
    words = how.split()
    given = dict(zip(words[::2], words[1::2], strict=True))
    sparsity = float(given["-s"])
    return prune(dense, data, criterion=given["-c"], scope=given.get("--scope"), sparsity=sparsity, seed=seed)


def trace_once() -> None:
    """Trace a network once for all repairs: its graph depends on no value, and takes longer than a repair."""
    known: dict[Any, Any] = {}
    original = repairing.export  # type: ignore[attr-defined]

    def export(model: nn.Module, shape: tuple[int, int, int], **how: bool) -> Any:
        kind = (type(model), sum(parameter.numel() for parameter in model.parameters()), shape)
        if kind not in known:
            known[kind] = original(model, shape, **how)
        return known[kind]

    repairing.export = export  # type: ignore[attr-defined]


def key(record: Record) -> tuple[Any, ...]:
    """What a record is of."""
    return tuple(record[name] for name in ("network", "data", "n", "seed", "pruning", "repair"))


def table(records: list[Record]) -> list[str]:
    """One row a pruning, one column a repair: mean and standard deviation over the seeds, in percent."""
    columns = ["none", *(method for method in METHODS if any(r["repair"] == method for r in records))]
    lines = ["| pruned, not trained | as it is | " + " | ".join(columns[1:]) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in dict.fromkeys(record["pruning"] for record in records):
        cells = []
        for column in columns:
            values = [r["accuracy"] for r in records if (r["pruning"], r["repair"]) == (name, column)]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}" if values else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def render() -> None:
    """Fill the tables of REPAIR.md from the records."""
    found = records_in([RECORDS])
    cases = dict.fromkeys((record["network"], record["data"]) for record in found)
    own = {case: [r for r in found if (r["network"], r["data"]) == case] for case in cases}
    fill(RECORDS.with_name("REPAIR.md"), {" on ".join(case): table(each) for case, each in own.items()})


def main() -> None:
    """Measure and record what is missing, or render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="lenet5")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--train", default="", help="more options of train")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("-n", type=int, default=1024)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--dense", type=Path, help="one trained network for all seeds")
    parser.add_argument("--methods", type=lambda text: text.split(","), default=["bn", "scale", "refit"])
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--label", default="CIFAR-10 (JPEG)", help="what the table calls DATA")
    parser.add_argument("--test", type=int, default=2_000)
    parser.add_argument("--render", action="store_true")
    chosen = parser.parse_args()
    if chosen.render:
        render()
        return
    done = {key(record) for record in records_in([RECORDS])}
    if chosen.dense is not None:
        torch.set_num_threads(1)
        follow_once()
        trace_once()
        keep(from_one(chosen, done), done)
        return
    folder = chosen.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        keep(by_commands(chosen, folder, seed), done)


def keep(records: Iterator[Record], done: set[tuple[Any, ...]]) -> None:
    """Record what is not there yet, one by one."""
    for record in records:
        if key(record) not in done:
            with RECORDS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
