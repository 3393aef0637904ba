"""Attacks before and after: seconds, passes and results of two checkouts on the same networks and images, in turns.

Run as `python -m tests.benchmarks.attacks BEFORE --out FILE.json [--names fgsm,pgd] [--n 64] [--rounds 2]`; BEFORE
is a checkout of an earlier commit (`git worktree add`). The network is lenet5 trained on digits; with `--resnet18
FILE.safetensors --data NAME`, `quick` runs on that one, too. `--markdown FILE.json` prints the table.

Every run is a process of its own with one thread. Seconds are of the processor, so that other processes count little;
passes are images that went forward through the network, and those whose gradient was taken.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parents[2]
SHORT = {
    "square": ["queries=500"],
    "l2-square": ["queries=500"],
    "standard": ["queries=500"],
    "salt-and-pepper": ["steps=100"],
}
"""Options where the defaults take minutes and both checkouts do the same work."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("before", nargs="?", type=Path)
    parser.add_argument("--names", default=None)
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--resnet18", type=Path)
    parser.add_argument("--lenet5", type=Path)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--out", type=Path, default=Path("attacks.json"))
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--worker", nargs=4, metavar=("NETWORK", "DATA", "NAME", "N"))
    args = parser.parse_args()
    if args.worker:
        network, data, name, n = args.worker
        print(json.dumps(measured(Path(network), data, name, int(n))))
    elif args.markdown:
        print(table(json.loads(args.markdown.read_text())))
    else:
        compare(args)


def compare(args: argparse.Namespace) -> None:
    """Run what is asked for in turns, and write every result as it comes; goes on with a file that exists."""
    from prunectl.plugins.registry import TABLES

    names = args.names.split(",") if args.names else [*TABLES["attack"], "quick", "standard"]
    lines = json.loads(args.out.read_text()) if args.out.exists() else []
    done = {(line["network"], line["attack"], line["side"], line["round"]) for line in lines}
    with tempfile.TemporaryDirectory() as folder:
        lenet = args.lenet5 or trained(Path(folder) / "lenet5.safetensors")
        jobs = [("lenet5", lenet, "digits", name) for name in names]
        jobs += [("resnet18", args.resnet18, args.data, "quick")] if args.resnet18 else []
        for network, path, data, name in jobs:
            for turn in range(args.rounds):
                for side, root in (("before", args.before), ("after", HERE)):
                    if (network, name, side, turn) not in done:
                        found = run(root.resolve(), path, data, name, args.n)
                        lines.append({"network": network, "attack": name, "side": side, "round": turn, **found})
                        args.out.write_text(json.dumps(lines, indent=1) + "\n")


def trained(path: Path) -> Path:
    """lenet5 on digits, as `ROBUSTNESS.md` has it."""
    from prunectl.checkpoints.checkpoint import write
    from prunectl.checkpoints.options.training import Recipe
    from prunectl.data.load import load_data
    from prunectl.models.fresh import fresh
    from prunectl.training.train import train

    data = load_data("digits")
    write(train(fresh("lenet5", data, source="digits", seed=0), data, Recipe(epochs=9)), path)
    return path


def run(root: Path, network: Path, data: str, name: str, n: int) -> dict[str, Any]:
    """One attack by the code of one checkout."""
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", str(network), data, name, str(n)]
    where = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=where, cwd=root, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(network: Path, data: str, name: str, n: int) -> dict[str, Any]:
    """Seconds of the processor, passes, and what came out."""
    from prunectl.checkpoints.checkpoint import read
    from prunectl.data.load import load_data
    from prunectl.robustness.attack import attack

    torch.set_num_threads(1)
    checkpoint = read(network, torch.device("cpu"))
    images = load_data(data, image_size=None if data == "digits" else checkpoint.spec.input[1])
    passes = {"forward": 0, "gradient": 0}

    def count(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        passes["forward"] += len(inputs[0])
        passes["gradient"] += len(inputs[0]) * (torch.is_grad_enabled() and inputs[0].requires_grad)

    options = dict(text.split("=") for text in SHORT.get(name, []))
    attack(checkpoint, images, attack="fgsm", n=2)  # imports
    checkpoint.model.register_forward_pre_hook(count)
    begun = time.process_time()
    record = attack(checkpoint, images, attack=name, n=n, options=options)
    return {
        "seconds": time.process_time() - begun,
        **passes,
        "images": record["images"],
        "norm": record["norm"],
        "eps": [one["eps"] for one in record["results"]],
        "robust": [one["robust_accuracy"] for one in record["results"]],
        "median_norm": next(iter(record.get("median_norm", {}).values()), None),
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: medians of the rounds."""
    head = (
        "network",
        "attack",
        "images",
        "seconds before",
        "after",
        "ratio",
        "passes before",
        "after",
        "robust before",
    )
    head = (*head, "after", "median norm before", "after")
    rows = [" | ".join(head), "|".join("--:" for _ in head)]
    for network, name, images in dict.fromkeys((line["network"], line["attack"], line["images"]) for line in lines):
        sides = [
            [x for x in lines if (x["network"], x["attack"], x["images"], x["side"]) == (network, name, images, side)]
            for side in ("before", "after")
        ]
        if not all(sides):
            continue
        seconds = [statistics.median(line["seconds"] for line in side) for side in sides]
        firsts = [side[0] for side in sides]
        cells = [network, name, str(images), *(f"{s:.2f}" for s in seconds)]
        cells += [f"{seconds[1] / seconds[0]:.2f}", *(f"{first['forward']:,}" for first in firsts)]
        cells += [" ".join(f"{round(r * first['images'])}" for r in first["robust"]) for first in firsts]
        cells += ["" if first["median_norm"] is None else f"{first['median_norm']:.4g}" for first in firsts]
        rows.append(" | ".join(cells))
    return "\n".join(f"| {row} |" for row in rows)


if __name__ == "__main__":
    main()
