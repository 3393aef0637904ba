"""Accuracy after pruning, without training: as it is, and after `prunectl repair` by each method.

    python -m tests.benchmarks.repair [--network lenet5 --data digits --epochs 20 --seeds 3 -n 1024] [--folder DIR]

Networks are trained, pruned, repaired and evaluated by the commands, in DIR, where what is there already is not made
again. A line of repair.jsonl holds one accuracy; the table on stdout has mean and standard deviation over the seeds.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from prunectl.cli import in_process

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


def measured(chosen: argparse.Namespace, folder: Path, seed: int) -> list[dict[str, Any]]:
    """The accuracies of one seed."""
    prunings = PRUNINGS.get(chosen.network, OTHERS)
    setting = {"network": chosen.network, "data": chosen.data, "epochs": chosen.epochs, "n": chosen.n, "seed": seed}
    begin = f"train --model {chosen.network} --data {chosen.data} --epochs {chosen.epochs} --seed {seed} {chosen.train}"
    dense = made(folder / f"dense{seed}.safetensors", begin)
    found = [{**setting, "pruning": "none", "repair": "none", "accuracy": accuracy(dense)}]
    for i, (name, how) in enumerate(prunings.items()):
        thin = made(folder / f"dense{seed}.{i}.safetensors", f"prune {dense} {how} --seed {seed}")
        found.append({**setting, "pruning": name, "repair": "none", "accuracy": accuracy(thin)})
        for j, (method, flags) in enumerate(METHODS.items()):
            line = f"repair {thin} {flags} -n {chosen.n} --seed {seed}"
            repaired = made(folder / f"dense{seed}.{i}.{j}.safetensors", line)
            found.append({**setting, "pruning": name, "repair": method, "accuracy": accuracy(repaired)})
    return found


def table(records: list[dict[str, Any]]) -> str:
    """One row a pruning, one column a repair: mean and standard deviation over the seeds, in percent."""
    columns = ["none", *METHODS]
    lines = ["| pruned, not trained | as it is | " + " | ".join(METHODS) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in dict.fromkeys(record["pruning"] for record in records):
        cells = []
        for column in columns:
            values = [r["accuracy"] for r in records if (r["pruning"], r["repair"]) == (name, column)]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}" if values else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, record, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="lenet5")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--train", default="", help="more options of train")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-n", type=int, default=1024)
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    records = [record for seed in range(chosen.seeds) for record in measured(chosen, folder, seed)]
    with RECORDS.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    print(table(records))


if __name__ == "__main__":
    main()
