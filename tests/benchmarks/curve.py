"""The picture of the README: accuracy after pruning, at once and after `--repair`, without any training.

    python -m tests.benchmarks.curve [--seeds 3] [--folder DIR]     # measure, then draw
    python -m tests.benchmarks.curve --draw                         # draw curve.svg from curve.jsonl

LeNet-5 is trained on 20,000 images of Fashion-MNIST for 6 epochs, pruned to several targets, and evaluated on all
10,000 test images, each by the commands of the program. A line of curve.jsonl holds one accuracy.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from prunectl.cli import in_process
from tests.benchmarks.curve_picture import picture

RECORDS = Path(__file__).with_suffix(".jsonl")
DRAWN = Path(__file__).with_suffix(".svg")
TRAIN = "train --model lenet5 --data fashionmnist --subset 20000 --epochs 6"
PRUNINGS = {
    "sparsity": ("-c lamp -s", (0.8, 0.9, 0.95, 0.98, 0.99)),
    "flops": ("-c taylor --flops", ("2x", "4x", "8x", "16x")),
}
TITLE = "A trained LeNet-5, pruned: accuracy before and after repair, without training"
REPAIRS = {"pruned": "", "repaired": "--repair"}


def run(line: str) -> str:
    """Run a command that must end well; returns stdout."""
    ran = in_process.run(line.split())
    assert ran.code == 0, ran.last
    return ran.out


def accuracy(path: Path) -> float:
    """Percent of the test images."""
    return round(100 * json.loads(run(f"eval --no-latency --json {path}"))["accuracy"], 2)


def measured(folder: Path, seed: int) -> list[dict[str, Any]]:
    """The accuracies of one seed."""
    dense = folder / f"dense{seed}.safetensors"
    if not dense.exists():
        run(f"{TRAIN} --seed {seed} -o {dense}")
    found = [{"seed": seed, "axis": "none", "target": None, "after": "trained", "accuracy": accuracy(dense)}]
    for axis, (how, targets) in PRUNINGS.items():
        for target in targets:
            for after, flags in REPAIRS.items():
                thin = folder / f"dense{seed}.{axis}.{target}.{after}.safetensors"
                run(f"prune {dense} {how} {target} {flags} --seed {seed} --force -o {thin}")
                at = {"seed": seed, "axis": axis, "target": str(target), "after": after}
                found.append({**at, "accuracy": accuracy(thin)})
    return found


def records() -> list[dict[str, Any]]:
    """What was measured."""
    return [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]


def points(found: list[dict[str, Any]], axis: str, after: str) -> list[tuple[str, float, float]]:
    """Target, mean and standard deviation of the accuracy over the seeds, in percent."""
    chosen = [r for r in found if (r["axis"], r["after"]) == (axis, after)]
    values = {r["target"]: [o["accuracy"] for o in chosen if o["target"] == r["target"]] for r in chosen}
    return [(target, statistics.mean(each), statistics.stdev(each)) for target, each in values.items()]


def drawn(found: list[dict[str, Any]]) -> str:
    """The picture of these records, as SVG."""
    dense = statistics.mean(r["accuracy"] for r in found if r["axis"] == "none")
    panels = {axis: {after: points(found, axis, after) for after in REPAIRS} for axis in PRUNINGS}
    return picture(TITLE, dense, panels)


def main() -> None:
    """Measure, record, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--draw", action="store_true")
    chosen = parser.parse_args()
    if not chosen.draw:
        folder = chosen.folder or Path(tempfile.mkdtemp())
        folder.mkdir(parents=True, exist_ok=True)
        found = [record for seed in range(chosen.seeds) for record in measured(folder, seed)]
        RECORDS.write_text("".join(json.dumps(record) + "\n" for record in found), encoding="utf-8")
    DRAWN.write_text(drawn(records()), encoding="utf-8")


if __name__ == "__main__":
    main()
