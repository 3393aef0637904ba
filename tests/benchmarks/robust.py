"""Robustness, measured: every attack by name, beside another implementation, over eps, and what it costs.

Run as `python -m tests.benchmarks.robust WHAT --out FILE.jsonl`, where WHAT is

- `names`: every attack on digits, for a dense network, a masked one and the shrunk one; as `curves`, it goes on where
  the file stops;
- `peers DATA`: fgsm, pgd and apgd beside torchattacks (extra `attack-peers`), same network, images, steps;
- `curves DATA MODEL [--n 1000] [--epochs 10] [--subset N] [--batch 512]`: `standard` at five eps, dense, snipit and
  snapit; a line that the file has is not run again;
- `cost DATA`: memory against the number of images, and pgd against the bare passes that it needs.

`--markdown FILE..` prints the tables, `--picture FILE.jsonl OUT.svg` draws the curves.
"""

import argparse
import inspect
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.training import Recipe
from prunectl.cli.process import prepare
from prunectl.data.images import ImageData
from prunectl.data.load import load_data
from prunectl.errors import PrunectlError
from prunectl.models.fresh import fresh
from prunectl.plugins.registry import TABLES
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.robustness.attack import attack
from prunectl.robustness.methods import levels, methods
from prunectl.robustness.network import opened, predict
from prunectl.training.train import train

SHORT = {
    "carlini-wagner": {"steps": "100"},
    "ead": {"steps": "100"},
    "VirtualAdversarialAttack": {"steps": "10"},
    "BoundaryAttack": {"steps": "500"},
    "HopSkipJumpAttack": {"steps": "8", "max_gradient_eval_steps": "200"},
}
"""Steps of attacks that have no default, or take thousands."""
EPS = {"fashionmnist": (0.01, 0.02, 0.05, 0.1, 0.2), "digits": (0.02, 0.05, 0.1, 0.15, 0.2)}


def networks(data: ImageData, model: str, epochs: int) -> tuple[Checkpoint, Checkpoint, Checkpoint]:
    """A trained network; the same with half its nodes masked and trained on; that one shrunk."""
    dense = train(fresh(model, data, source=data.name, seed=0), data, Recipe(epochs=epochs))
    masked = train(prune(dense, data, criterion="snapit", sparsity=0.5), data, Recipe(epochs=epochs // 3))
    return dense, masked, shrink(masked)


def foolbox_classes() -> list[str]:
    """The names of foolbox's attacks that no name of ours stands for, without its abbreviations."""
    import foolbox.attacks

    ours = {address.rpartition(":")[2] for address in TABLES["attack"].values()}
    made = vars(foolbox.attacks).items()
    classes = [k for k, v in made if inspect.isclass(v) and not inspect.isabstract(v) and v.__name__ == k]
    return [name for name in classes if name not in ours]


def every_name(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line an attack: robust accuracy of the three networks, at the middle eps of its norm."""
    data = load_data("digits")
    made = networks(data, "lenet5", 9)
    for name in [*TABLES["attack"], *foolbox_classes()]:
        if name in args.done:
            continue
        line: dict[str, Any] = {"attack": name}
        try:
            (method,) = methods([name], None, SHORT.get(name, {}), classes=10)
            eps = levels(None, method.norm, made[0].spec.input)[1]
            line |= {"norm": method.norm, "eps": eps}
            for kind, network in zip(("dense", "masked", "shrunk"), made, strict=True):
                record = attack(network, data, attack=name, eps=[eps], n=args.n or 60, options=SHORT.get(name, {}))
                line[kind] = record["results"][0]["robust_accuracy"]
                line[f"clean_{kind}"] = record["clean_accuracy"]
                line["seconds"] = line.get("seconds", 0) + record["seconds"]
        except PrunectlError as error:
            line["error"] = str(error)
        yield line


class Whole(nn.Module):
    """A network with its normalisation inside, as other libraries take it."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.inner, self.preprocessing = checkpoint.model.eval(), checkpoint.preprocessing

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.inner(self.preprocessing(255 * images))
        return outputs


def peers(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Robust accuracy by both, with the same number of steps and the same step size."""
    import torchattacks

    data = load_data(args.data)
    dense = train(fresh("lenet5", data, source=args.data, seed=0), data.subset(20_000, 0), Recipe(epochs=args.epochs))
    count = args.n or 1000
    index = torch.arange(count) * len(data.test) // count
    images, labels = data.test.take(index).batches(count).__iter__().__next__()
    images = images.float() / 255
    whole = Whole(dense).eval()  # torchattacks puts back the mode that it finds
    for eps in EPS[args.data][1:4]:
        theirs = {
            "fgsm": torchattacks.FGSM(whole, eps=eps),
            "pgd": torchattacks.PGD(whole, eps=eps, alpha=2.5 * eps / 40, steps=40, random_start=True),
            "apgd-ce": torchattacks.APGD(whole, eps=eps, steps=100, loss="ce"),
            "apgd-dlr": torchattacks.APGD(whole, eps=eps, steps=100, loss="dlr"),
        }
        for name, peer in theirs.items():
            started = time.perf_counter()
            right = 0
            for i in range(0, count, 250):
                found = peer(images[i : i + 250], labels[i : i + 250])
                with torch.no_grad():
                    right += int((whole(found).argmax(1) == labels[i : i + 250]).sum())
            seconds = time.perf_counter() - started
            ours = attack(dense, data, attack=name, eps=[eps], n=count, batch_size=250)
            yield {
                "data": args.data,
                "attack": name,
                "eps": eps,
                "images": count,
                "clean": ours["clean_accuracy"],
                "ours": ours["results"][0]["robust_accuracy"],
                "torchattacks": right / count,
                "ours_seconds": ours["attack_seconds"][name],
                "torchattacks_seconds": seconds,
            }


def curves(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The worst case over `standard`, for a dense network and pruned ones, trained alike."""
    data = load_data(args.data)
    data = data if args.subset is None else data.subset(args.subset, 0)
    begun, recipe = fresh(args.model, data, source=args.data, seed=0), Recipe(epochs=args.epochs, batch_size=args.batch)
    kinds = {
        "dense": lambda: begun,
        "snipit 0.9": lambda: prune(begun, data, criterion="snipit", sparsity=0.9, batch_size=512),
        "snipit 0.98": lambda: prune(begun, data, criterion="snipit", sparsity=0.98, batch_size=512),
        "snapit 0.75": lambda: shrink(prune(begun, data, criterion="snapit", sparsity=0.75, batch_size=512)),
    }
    for kind, make in kinds.items():
        if (args.model, kind) in args.done:
            continue
        network = train(make(), data, recipe)
        eps = EPS.get(args.data, EPS["digits"])
        record = attack(
            network,
            data,
            attack="standard",
            eps=eps,
            n=args.n,
            options={"queries": str(args.queries), "steps": str(args.steps)},
        )
        keys = ("images", "clean_accuracy", "results", "attack_seconds", "warnings", "seconds")
        trained = {
            "trained_on": len(data.train),
            "epochs": args.epochs,
            "batch": args.batch,
            "steps": args.steps,
            "queries": args.queries,
        }
        yield {
            "data": args.data,
            "model": args.model,
            "kind": kind,
            **trained,
            **{key: record[key] for key in keys},
        }


def cost(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Peak memory for more and more images, in processes of their own; pgd's time over that of bare passes."""
    if args.side is not None:
        data = load_data(args.data)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        attack(fresh("lenet5", data, source=args.data, seed=0), data, attack="quick", n=args.side, eps=[0.05, 0.1])
        yield {"images": args.side, "peak_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}
        return
    for count in (500, 1000, 2000, 4000):
        line = [sys.executable, "-m", "tests.benchmarks.robust", "cost", args.data, "--side", str(count)]
        yield json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    data = load_data(args.data)
    torch.set_num_threads(1)
    for model, count in (("lenet5", 128), ("conv6", 16)):
        yield _throughput(fresh(model, data, source=args.data, seed=0), data, model, count)


def _throughput(begun: Checkpoint, data: ImageData, model: str, count: int) -> dict[str, Any]:
    """Medians of ratios over rounds in which the two sides take turns: 40 steps on some images, then the count.

    The bare passes see noisy images too: a maximum over the even background of clean ones takes less time.
    """
    from foolbox.criteria import Misclassification

    pixels = next(iter(data.test.batches(count)))[0]
    images, steps = pixels.float() / 255, 40
    (method,) = methods(["pgd"], None, {"steps": str(steps)}, classes=10)
    ratios = []
    with opened(begun) as (network,):
        labels = predict(network, images)
        reached = 255 * method(network, images, Misclassification(labels), [0.1])[0]

        def bare() -> None:
            for _ in range(steps):
                points = begun.preprocessing(reached).requires_grad_(True)
                torch.autograd.grad(nn.functional.cross_entropy(begun.model(points), labels), points)

        def ours() -> None:
            predict(network, method(network, images, Misclassification(labels), [0.1])[0])

        for _ in range(7):
            spent = []
            for side in (bare, ours):
                started = time.process_time()
                side()
                spent.append(time.process_time() - started)
            ratios.append(spent[1] / spent[0])
    return {"model": model, "ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def table(lines: list[dict[str, Any]], columns: list[str]) -> str:
    """Markdown; shares in percent."""

    def cell(value: object) -> str:
        return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)

    body = ["| " + " | ".join(cell(line.get(key)) for key in columns) + " |" for line in lines]
    return "\n".join(["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), *body])


def markdown(lines: list[dict[str, Any]]) -> str:
    """The tables of all lines."""
    named = [line for line in lines if "dense" in line or "error" in line]
    beside = [line for line in lines if "torchattacks" in line]
    curve = [
        {
            "data": c["data"],
            "network": c["model"],
            "pruned": c["kind"],
            "trained on": c["trained_on"],
            "epochs": c["epochs"],
            "batch": c.get("batch", 512),
            "steps": c.get("steps", 100),
            "queries": c["queries"],
            "images": c["images"],
            "clean": c["clean_accuracy"],
        }
        | {f"eps {r['eps']:g}": r["robust_accuracy"] for r in c["results"]}
        for c in lines
        if "kind" in c
    ]
    spent = [line for line in lines if "ratio" in line or "peak_mb" in line]
    parts = []
    if named:
        parts.append(table(named, ["attack", "norm", "eps", "dense", "masked", "shrunk", "seconds", "error"]))
    if beside:
        keys = [
            "data",
            "attack",
            "eps",
            "images",
            "clean",
            "ours",
            "torchattacks",
            "ours_seconds",
            "torchattacks_seconds",
        ]
        parts.append(table(beside, keys))
    parts += [table([line for line in curve if list(line) == keys], keys) for keys in _kinds(curve)]
    if spent:
        parts.append(table(spent, ["images", "peak_mb", "model", "ratio", "least", "most"]))
    return "\n\n".join(parts)


def _kinds(lines: list[dict[str, Any]]) -> list[list[str]]:
    """The different lists of columns."""
    return [list(keys) for keys in dict.fromkeys(tuple(line) for line in lines)]


def picture(lines: list[dict[str, Any]], out: Path) -> None:
    """Robust accuracy over eps, a panel a network."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    curve = [line for line in lines if "kind" in line]
    panels = list(dict.fromkeys((line["data"], line["model"]) for line in curve))
    figure, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 3.6), squeeze=False, layout="constrained")
    for axis, panel in zip(axes[0], panels, strict=True):
        shown = [line for line in curve if (line["data"], line["model"]) == panel]
        for line, marker, colour in zip(shown, "osD^", ("#000000", "#0072B2", "#56B4E9", "#D55E00"), strict=False):
            points = [(0.0, line["clean_accuracy"]), *((r["eps"], r["robust_accuracy"]) for r in line["results"])]
            xs, ys = zip(*points, strict=True)
            axis.plot(xs, [100 * y for y in ys], marker=marker, color=colour, label=line["kind"])
        axis.set(title=f"{panel[1]} on {panel[0]}, {shown[0]['images']} images", xlabel="eps (max norm)", ylim=(0, 100))
        axis.set_ylabel("accuracy, worst case of `standard`, %")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    figure.savefig(out)


WHAT = {"names": every_name, "peers": peers, "curves": curves, "cost": cost}


def main() -> None:
    """Read the command line and do as it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=WHAT, nargs="?")
    parser.add_argument("data", nargs="?", default="fashionmnist")
    parser.add_argument("model", nargs="?", default="mlp5")
    parser.add_argument("--n", type=int)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=512, help="of the training of `curves`")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--subset", type=int)
    parser.add_argument("--side", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--markdown", type=Path, nargs="+")
    parser.add_argument("--picture", type=Path, nargs=2)
    args = parser.parse_args()
    for path in args.markdown or []:
        sys.stdout.write(markdown([json.loads(line) for line in path.read_text().splitlines()]) + "\n\n")
    if args.picture:
        picture([json.loads(line) for line in args.picture[0].read_text().splitlines()], args.picture[1])
    if args.what is None:
        return
    torch.set_num_threads(1)
    prepare("attack")  # as the command line does
    before = args.out.read_text().splitlines() if args.out is not None and args.out.exists() else []
    records = [json.loads(line) for line in before]
    args.done = {(r["model"], r["kind"]) for r in records if "kind" in r} | {
        r["attack"] for r in records if "norm" in r
    }
    for line in WHAT[args.what](args):
        text = json.dumps(line)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        if args.out is not None:
            with args.out.open("a") as file:
                file.write(text + "\n")


if __name__ == "__main__":
    main()
