"""What normalisations, scopes and ceilings do to criteria of nodes on trained networks, at once and after an epoch.

Run as `python -m tests.benchmarks.rankings --out FILE.jsonl --work FOLDER [--networks lenet5,resnet,vit]
[--seeds 0,1,2] [--criteria taylor,..] [--variants "mean;max"] [--targets 0.5,flops=4x,..] [--epoch]`; a run with the
same FILE goes on where it stopped. Trained networks are kept in FOLDER. `--markdown FILE..` prints the tables.

`lenet5` is trained on digits for 20 epochs. The others see 10,000 images of Fashion-MNIST and are tested on 1,000:
`resnet` has widths 16, 32, 64, one block each, and BatchNorm (6 epochs); `vit` 16 patches, width 64, 4 blocks of 4
heads (12 epochs). Accuracy is taken at once, with BatchNorm's statistics taken anew over 512 images, and
with `--epoch` after training on: lenet5 for 3 epochs, the others on 2,000 images.
"""

import argparse
import copy
import json
import os
import statistics
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import VisionTransformer

from prunectl.checkpoints.checkpoint import Checkpoint, read, write
from prunectl.checkpoints.options.training import Recipe
from prunectl.criteria.base.criterion import Criterion, criterion_named
from prunectl.data.images import ImageData
from prunectl.data.load import load_data
from prunectl.errors import PrunectlError
from prunectl.measuring.accuracy import accuracy
from prunectl.models.cifar_resnet import CifarResNet
from prunectl.models.fresh import fresh
from prunectl.pruning import by_criterion as pruning
from prunectl.pruning.budget import Budget
from prunectl.pruning.prune import prune
from prunectl.pruning.rules import NodeRules
from prunectl.pruning.shrink import shrink
from prunectl.pruning.units import with_nodes
from prunectl.scores import Scores
from prunectl.training.train import train

CRITERIA = (
    *("structured-random", "taylor", "snap", "snapit", "structured-grasp", "network-slimming", "gate-decorators"),
    *("efficient-convnets", "group-hoyer-square", "magnitude", "lamp", "erk", "random", "snip", "grasp", "synflow"),
    *("depgraph", "fisher", "fpgm", "hrank", "chip"),
)
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "none": {"normalize": "none", "max_pruned": 1.0},
    "none, 0.9": {"normalize": "none", "max_pruned": 0.9},
    **{name: {"normalize": name} for name in ("mean", "max", "l2", "gaussian", "flops")},
    "isomorphic": {"normalize": "none", "max_pruned": 0.9, "scope": "isomorphic"},
    "isomorphic mean": {"normalize": "mean", "scope": "isomorphic"},
    "layer": {"normalize": "none", "max_pruned": 1.0, "scope": "layer"},
}
TARGETS = ("0.5", "flops=2x", "flops=4x")
EPOCHS = {"lenet5": 20, "resnet": 6, "vit": 12}


def resnet(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Widths 16, 32 and 64, one block each."""
    return CifarResNet(shape[0], classes, 1, "conv")


def vit(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """16 patches of 7x7, width 64, 4 blocks of 4 heads."""
    model = VisionTransformer(shape[1], 7, 4, 4, 64, 128, num_classes=classes)
    model.conv_proj = nn.Conv2d(shape[0], 64, 7, stride=7)
    nn.init.trunc_normal_(model.heads.head.weight, std=0.02)
    return model


@cache
def images(network: str) -> ImageData:
    """The images that a network is trained and tested on."""
    if network == "lenet5":
        return load_data("digits", image_size=28)
    whole = load_data("fashionmnist").subset(10_000, 0)
    return replace(whole, test=whole.test.take(torch.arange(1_000)))


def trained(network: str, seed: int, data: ImageData, work: Path) -> Checkpoint:
    """The trained network, from the folder where it is there."""
    path = work / f"{network}-{seed}.safetensors"
    if not path.exists():
        source = "digits" if network == "lenet5" else "fashionmnist"
        name = network if network == "lenet5" else f"tests.benchmarks.rankings:{network}"
        begun = fresh(name, data, seed=seed, source=source)
        write(train(begun, data, Recipe(epochs=EPOCHS[network], seed=seed, sched="onecycle")), path)
    return read(path, torch.device("cpu"))


def pruned(dense: Checkpoint, data: ImageData, criterion: str, variant: str, target: str, seed: int) -> Checkpoint:
    """The network pruned to a target: a node sparsity, or KIND=BUDGET."""
    rules = dict(VARIANTS[variant])
    kind, _, text = target.rpartition("=")
    aim: dict[str, Any] = {"budget": Budget.read(kind, text)} if kind else {"sparsity": float(text)}
    return prune(
        dense,
        data,
        criterion=criterion,
        unit=None if criterion_named(criterion).unit == "nodes" else "nodes",
        scope=rules.pop("scope", None),
        rules=NodeRules(**rules),
        seed=seed,
        **aim,
    )


def measured(dense: Checkpoint, data: ImageData, job: dict[str, Any], *, epoch: bool) -> dict[str, Any]:
    """One record: accuracy in percent, node sparsity, how many times fewer FLOPs, thin groups."""
    found = pruned(dense, data, job["criterion"], job["variant"], job["target"], job["seed"])
    result, options = found.history[-1].result, found.history[-1].options
    record = {
        **job,
        "normalize": options["normalize"],
        "max_pruned": result.get("max_pruned", 1.0),
        "scope": options["scope"],
        "at_once": percent(found, data),
        **({"recalibrated": percent(recalibrated(found, data), data)} if job["network"] != "vit" else {}),
        "node_sparsity": result["node_sparsity"],
        "times_fewer_flops": dense.dense.flops / result["flops"],
        "thin_groups": len(result.get("thin_groups", [])),
    }
    if epoch:
        small = shrink(found, constants=False) if job["network"] == "resnet" else found
        short = data if job["network"] == "lenet5" else data.subset(2_000, 1)
        recipe = Recipe(epochs=3 if job["network"] == "lenet5" else 1, seed=job["seed"])
        record["after_an_epoch"] = percent(train(small, short, recipe), data)
    return record


def recalibrated(checkpoint: Checkpoint, data: ImageData) -> Checkpoint:
    """The same network with BatchNorm's statistics taken anew over 512 training images."""
    model = copy.deepcopy(checkpoint.model)
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    pixels, _ = next(iter(data.train.take(torch.arange(512)).batches(512)))
    with torch.no_grad():
        model(checkpoint.preprocessing(pixels))
    return replace(checkpoint, model=model)


def follow_once() -> None:
    """Follow every network once: its structure depends on no value, and takes longer than all the rest."""
    known: dict[Any, Any] = {}
    original = with_nodes.analyse  # type: ignore[attr-defined]

    def analyse(model: nn.Module, shape: tuple[int, int, int], *, outer: bool = False) -> Any:
        kind = (type(model), sum(parameter.numel() for parameter in model.parameters()), outer)
        if kind not in known:
            known[kind] = original(model, shape, outer=outer)
        return known[kind]

    with_nodes.analyse = analyse  # type: ignore[attr-defined]


def score_once() -> None:
    """Score a network once for all variants of a criterion that prunes in one round."""
    known: dict[Any, Scores] = {}
    original = pruning.scored  # type: ignore[attr-defined]

    def scored(method: Criterion, unit: Any, batches: Any, keywords: Any, **rest: Any) -> Scores:
        if method.schedule != "one-shot":
            return original(method, unit, batches, keywords, **rest)
        first = next(unit.checkpoint.model.parameters())
        kind = (method.source, method.scorer.__name__, float(first.detach().sum()), first.numel())
        if kind not in known:
            known[kind] = original(method, unit, batches, keywords, **rest)
        return known[kind]

    pruning.scored = scored  # type: ignore[attr-defined]


def percent(checkpoint: Checkpoint, data: ImageData) -> float:
    """Accuracy on the test images."""
    return 100 * accuracy(checkpoint.model, data.test, checkpoint.preprocessing, classes=len(data.classes)).top1


def main() -> None:
    """Measure what is missing, or print tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--markdown", type=Path, nargs="+")
    parser.add_argument("--epoch", action="store_true")
    for name, values in {"networks": EPOCHS, "seeds": "012", "criteria": CRITERIA}.items():
        parser.add_argument(f"--{name}", type=lambda text: text.split(","), default=list(values))
    parser.add_argument("--variants", type=lambda text: text.split(";"), default=list(VARIANTS))
    parser.add_argument("--targets", type=lambda text: text.split(","), default=list(TARGETS))
    args = parser.parse_args()
    if args.markdown:
        print("\n".join(markdown(args.markdown)))
        return
    os.environ["PRUNECTL_TRUST"] = "1"  # the networks of this file
    torch.set_num_threads(1)
    follow_once()
    score_once()
    done = {key(record) for record in records_in([args.out])}
    for job in jobs(args):
        if key(job) not in done:
            data = images(job["network"])
            dense = trained(job["network"], job["seed"], data, args.work)
            try:
                record = measured(dense, data, job, epoch=args.epoch)
            except PrunectlError as error:
                record = {**job, "refused": str(error)}
            with args.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def jobs(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Everything that is asked for, seed by seed."""
    for seed in map(int, args.seeds):
        for network in args.networks:
            for criterion in args.criteria:
                for target in args.targets:
                    for variant in args.variants:
                        job = {"network": network, "criterion": criterion, "target": target, "variant": variant}
                        yield {**job, "seed": seed}


def key(record: dict[str, Any]) -> tuple[Any, ...]:
    """What a record is of."""
    return tuple(record[name] for name in ("network", "criterion", "target", "variant", "seed"))


def records_in(paths: list[Path]) -> list[dict[str, Any]]:
    """The records of files that are there."""
    return [json.loads(line) for path in paths if path.exists() for line in path.read_text("utf-8").splitlines()]


def markdown(paths: list[Path]) -> Iterator[str]:
    """A table for every network and target: a row for each criterion, a column for each variant."""
    found = [record for record in records_in(paths) if "refused" not in record]
    for network, target in dict.fromkeys((record["network"], record["target"]) for record in found):
        here = [record for record in found if (record["network"], record["target"]) == (network, target)]
        variants = dict.fromkeys(record["variant"] for record in here)
        yield from ("", f"### {network}, {target}", "", f"| | {' | '.join(variants)} |")
        yield "|---|" + "--:|" * len(variants)
        for criterion in dict.fromkeys(record["criterion"] for record in here):
            own = [record for record in here if record["criterion"] == criterion]
            yield f"| {criterion} | {' | '.join(cell([r for r in own if r['variant'] == v]) for v in variants)} |"


def cell(records: list[dict[str, Any]]) -> str:
    """Mean and deviation over seeds: at once, with statistics taken anew, after an epoch."""
    names = ("at_once", "recalibrated", "after_an_epoch")
    columns = [[record[name] for record in records if name in record] for name in names]
    return " / ".join(
        f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")
        for values in columns
        if values
    )


if __name__ == "__main__":
    main()
