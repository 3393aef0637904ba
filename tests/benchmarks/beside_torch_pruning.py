"""Accuracy beside torch-pruning at equal FLOPs: at once, after one and after five short epochs of the same training.

    python -m tests.benchmarks.beside_torch_pruning --dense FILE --data DATA [--image-size 16] [--seeds 0,1,2]
        [--targets 2,4] [--only NAME;NAME] [--epoch 1000] [--test 2000] [--out FILE.jsonl]
    python -m tests.benchmarks.beside_torch_pruning --render [--out FILE.jsonl]   # TORCH_PRUNING.md and .svg

DATA are the images that FILE was trained on; `pip install '.[peers]'` before. A line of the JSONL holds one pruned
network; a run with the same file goes on where it stopped, the seeds outermost. FLOPs of both sides are counted by
prunectl. A short epoch is `--epoch` training images that the epochs before it have not seen; both sides see the same
images in the same order, under torch-pruning's settings for CIFAR (SGD, learning rate 0.01, momentum 0.9, weight decay
5e-4), in batches of 32, without augmentation.

Torch-pruning's side follows its `reproduce/main.py`: all layers ranked together, importances divided by their group's
mean, 400 small steps that rank anew until the FLOPs are met, the classifier kept; without its sparse training, which
would need more epochs. `magnitude` is its l1, `group norm` its group_norm, `BN scale` its slim. `Taylor` and `Hessian`
take the gradients of its `benchmark_importance_criteria.py`, at the dense network, on 640 and 256 images; 1.6.1 keeps
the squared gradient of the last image alone, so `Hessian` gets the mean over the images from here.
"""

import argparse
import copy
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint, read
from prunectl.data.images import ImageData, ImageSource
from prunectl.data.load import load_data
from prunectl.errors import OptionError, PrunectlError
from prunectl.masks import Masks
from prunectl.measuring.accuracy import accuracy
from prunectl.measuring.cost import cost
from prunectl.pruning.budget import Budget
from prunectl.pruning.prune import prune
from prunectl.pruning.rules import NodeRules
from prunectl.pruning.shrink import shrink
from tests.benchmarks.beside_render import rendered
from tests.benchmarks.rankings import follow_once, records_in

RECORDS = Path(__file__).with_suffix(".jsonl")
THEIRS = ("magnitude", "group norm", "BN scale", "Taylor", "Hessian")
OURS = ("taylor", "depgraph", "efficient-convnets", "network-slimming")
STEPS, GRADIENT_IMAGES = 400, {"Taylor": 640, "Hessian": 256}
SHORT_EPOCHS, BATCH = 5, 32
Record = dict[str, Any]


def theirs(dense: nn.Module, images: Tensor, labels: Tensor, method: str, limits: list[float]) -> list[nn.Module]:
    """The networks pruned by torch-pruning, in one go, to each of these FLOPs or fewer, the most first."""
    model, shape, found = copy.deepcopy(dense).eval(), tuple(images.shape[1:]), list[nn.Module]()
    pruner = their_pruner(model, images, labels, method)
    for limit in limits:
        while (now := flops(model, shape)) > limit:
            if pruner.current_step == STEPS:
                raise OptionError(f"torch-pruning stops at {now} FLOPs")
            for _ in range(4 if now > 1.2 * limit else 1):  # counting takes longer than a step
                pruner.step()
        found.append(copy.deepcopy(model))
        found[-1].zero_grad()
    return found


def their_pruner(model: nn.Module, images: Tensor, labels: Tensor, method: str) -> Any:
    """Torch-pruning's side of a method, with its gradients taken where it has any."""
    import torch_pruning as tp

    importance = {
        "magnitude": lambda: tp.importance.MagnitudeImportance(p=1),
        "group norm": lambda: tp.importance.GroupMagnitudeImportance(p=2),
        "BN scale": tp.importance.BNScaleImportance,
        "Taylor": lambda: tp.importance.TaylorImportance(group_reduction="mean"),
        "Hessian": lambda: tp.importance.HessianImportance(group_reduction="mean"),
    }[method]()
    if method == "Taylor":
        for some, right in zip(images.split(64), labels.split(64), strict=True):
            nn.functional.cross_entropy(model(some), right).backward()
    elif method == "Hessian":
        importance._accu_grad = mean_squares(model, images, labels)
        importance._counter = dict.fromkeys(importance._accu_grad, 1)
    entry = {"group norm": tp.pruner.GroupNormPruner, "BN scale": tp.pruner.BNScalePruner}
    return entry.get(method, tp.pruner.MagnitudePruner)(
        model,
        images[:1],
        importance=importance,
        global_pruning=True,
        iterative_steps=STEPS,
        pruning_ratio=1.0,
        ignored_layers=[module for module in model.modules() if isinstance(module, nn.Linear)][-1:],
    )


def mean_squares(model: nn.Module, images: Tensor, labels: Tensor) -> dict[nn.Parameter, Tensor]:
    """The mean over images of the squared gradient of every parameter; the last gradients stay in place."""
    sums = {parameter: torch.zeros_like(parameter) for parameter in model.parameters()}
    for image, label in zip(images.split(1), labels.split(1), strict=True):
        model.zero_grad()
        nn.functional.cross_entropy(model(image), label).backward()
        for parameter in sums:
            sums[parameter] += parameter.grad.square() / len(images)
    return sums


def ours(dense: Checkpoint, data: ImageData, method: str, repair: str | None, target: str, seed: int) -> nn.Module:
    """The network pruned by prunectl to a budget of FLOPs; `method` is a criterion, with a normalisation or without."""
    criterion, _, normalize = method.partition(" --normalize ")
    found = prune(
        dense,
        data,
        criterion=criterion,
        budget=Budget.read("flops", f"{target}x"),
        rules=NodeRules(normalize=normalize or None),
        repair=repair,
        seed=seed,
    )
    return shrink(found).model


def flops(model: nn.Module, shape: tuple[int, ...]) -> int:
    """As prunectl counts them."""
    return cost(model, Masks({}), (shape[0], shape[1], shape[2])).flops


def percent(model: nn.Module, data: ImageData) -> float:
    """Of the test images."""
    return round(100 * accuracy(model, data.test, data.preprocessing, classes=len(data.classes)).top1, 2)


def epochs(model: nn.Module, data: ImageData, size: int, seed: int) -> Iterator[int]:
    """Train in place, and yield the number of short epochs that are done."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    opt = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    for done in range(SHORT_EPOCHS):
        model.train()
        for pixels, labels in part(data.train, order, done * size, size).batches(BATCH):
            loss = nn.functional.cross_entropy(model(data.preprocessing(pixels)), labels)
            opt.zero_grad()
            loss.backward()
            opt.step()
        yield done + 1


def part(images: ImageSource, order: Tensor, begin: int, size: int) -> ImageSource:
    """So many images of an order from one place on, which begins again at its end."""
    return images.take(order[torch.arange(begin, begin + size) % len(order)])


def pruned(dense: Checkpoint, data: ImageData, job: Record, targets: list[str]) -> list[nn.Module]:
    """The networks of a job, one for each target."""
    seed, method = job["seed"], job["method"]
    if job["side"] == "prunectl":
        return [ours(dense, data, method, job["repair"], target, seed) for target in targets]
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(1000 + seed))
    some = part(data.train, order, 0, GRADIENT_IMAGES.get(method, 1))
    pixels, labels = next(iter(some.batches(len(some))))
    whole = flops(dense.model, dense.spec.input)
    return theirs(dense.model, data.preprocessing(pixels), labels, method, [whole / float(t) for t in targets])


def measured(model: nn.Module, dense: Checkpoint, data: ImageData, job: Record) -> Record:
    """One record: accuracies in percent, how many times fewer FLOPs."""
    fewer = flops(dense.model, dense.spec.input) / flops(model, dense.spec.input)
    found = {**job, "times_fewer": fewer, "parameters": sum(p.numel() for p in model.parameters())}
    found["at_once"] = percent(model, data)
    for done in epochs(model, data, job["epoch"], job["seed"]):
        if done in (1, SHORT_EPOCHS):
            found[f"after_{done}"] = percent(model, data)
    return found


def jobs(args: argparse.Namespace, network: str) -> Iterator[Record]:
    """Everything that is asked for, seed by seed and target by target."""
    cells = [("torch-pruning", method, None) for method in THEIRS]
    cells += [("prunectl", method, repair) for repair in ("refit", None) for method in OURS]
    if args.only:
        named, known = args.only.split(";"), [method for _, method, _ in cells]
        cells = [cell for cell in cells if cell[1] in named]
        repairs = {"auto": ("refit",)}
        others = [name for name in named if name not in known]
        cells += [("prunectl", name, repair) for name in others for repair in repairs.get(name, ("refit", None))]
    for seed in map(int, args.seeds.split(",")):
        for side, method, repair in cells:
            job = {"network": network, "data": args.label, "images": args.images, "side": side, "method": method}
            yield {**job, "repair": repair, "epoch": args.epoch, "seed": seed}


def key(record: Record) -> tuple[Any, ...]:
    """What a record is of."""
    return tuple(record[name] for name in ("network", "data", "target", "side", "method", "repair", "epoch", "seed"))


def measure(args: argparse.Namespace) -> None:
    """Measure what is missing."""
    data = load_data(args.data, image_size=args.image_size)
    chosen = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))[: args.test]
    data = replace(data, test=data.test.take(chosen))
    dense, args.images = read(args.dense, torch.device("cpu")), len(data.train)
    done = {key(record) for record in records_in([args.out])}
    first = {"network": dense.spec.name, "data": args.label, "images": args.images, "side": "dense", "method": "none"}
    whole = {**first, "repair": None, "epoch": 0, "seed": 0, "target": "1"}
    if key(whole) not in done:
        record({**whole, "at_once": percent(dense.model, data)}, args.out)
    for job in jobs(args, dense.spec.name):
        missing = [target for target in args.targets.split(",") if key({**job, "target": target}) not in done]
        begun = time.process_time()
        try:
            networks = pruned(dense, data, job, missing) if missing else []
        except PrunectlError as error:
            record({**job, "target": ",".join(missing), "refused": str(error)}, args.out)
            continue
        seconds = round((time.process_time() - begun) / max(len(missing), 1), 1)
        for target, model in zip(missing, networks, strict=True):
            record({**measured(model, dense, data, {**job, "target": target}), "seconds": seconds}, args.out)


def record(found: Record, out: Path) -> None:
    """Add a line."""
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(found) + "\n")


def main() -> None:
    """Measure what is missing, or render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dense", type=Path)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--label", default="CIFAR-10 (JPEG)", help="what the table calls DATA")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--targets", default="2,4")
    parser.add_argument("--only", default="", help="methods, with ; between them, such as auto")
    parser.add_argument("--epoch", type=int, default=1_000)
    parser.add_argument("--test", type=int, default=2_000)
    parser.add_argument("--out", type=Path, default=RECORDS)
    parser.add_argument("--render", action="store_true")
    args = parser.parse_args()
    if args.render:
        rendered(records_in([args.out]), Path(__file__).with_name("TORCH_PRUNING"))
        return
    os.environ["PRUNECTL_TRUST"] = "1"
    torch.set_num_threads(1)
    follow_once()
    measure(args)


if __name__ == "__main__":
    main()
