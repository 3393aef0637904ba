"""What channels-last gains on a cpu, by network: a training step, a forward pass, and the gradient of an attack.

Run as `python -m tests.benchmarks.layouts [--rounds N] [--amp] [--out FILE.json] [NETWORK[:BATCH] ..]`, one thread.
Both layouts take turns (A B A B) in one process; a gain is the median over rounds of the processor time of the
contiguous side divided by that of the channels-last side, beside the least and the most.
"""

import copy
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.data.images import Preprocessing
from prunectl.models.fresh import untrained
from prunectl.torchtools.layout import layout
from tests.benchmarks.one_thread import begun, processor

NETWORKS = {
    "lenet5": ((1, 28, 28), 128),
    "conv6": ((3, 32, 32), 32),
    "vgg16": ((3, 32, 32), 32),
    "vgg19-bn": ((3, 32, 32), 32),
    "resnet18": ((3, 32, 32), 64),
    "resnet20": ((3, 32, 32), 64),
    "wrn-16-4": ((3, 32, 32), 16),
    "mobilenetv2-cifar": ((3, 32, 32), 16),
    "alexnet": ((3, 32, 32), 64),
    "torchvision/resnet18": ((3, 224, 224), 4),
    "torchvision/resnet50": ((3, 224, 224), 2),
    "torchvision/mobilenet_v3_small": ((3, 224, 224), 8),
}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
Run = Callable[[], object]


def training(model: nn.Module, images: Tensor, labels: Tensor, *, amp: bool) -> Run:
    """A step of Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def run() -> None:
        model.train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
            loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return run


def evaluation(model: nn.Module, images: Tensor, *, amp: bool) -> Run:
    """A forward pass in eval mode."""

    def run() -> None:
        model.eval()
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
            model(images)

    return run


def attack(model: nn.Module, images: Tensor, labels: Tensor, *, amp: bool) -> Run:
    """The gradient of the loss by the images."""
    frozen = copy.deepcopy(model).eval().requires_grad_(False)

    def run() -> None:
        points = images.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
            loss = nn.functional.cross_entropy(frozen(points), labels)
        torch.autograd.grad(loss, points)

    return run


def sides(name: str, shape: tuple[int, int, int], batch: int, *, amp: bool) -> dict[str, dict[str, Run]]:
    """What takes turns, by the kind of work and the layout."""
    model = untrained(name, shape, 10, Preprocessing((0.0,) * shape[0], (1.0,) * shape[0])).model
    images, labels = torch.randn(batch, *shape), torch.arange(batch) % 10
    found: dict[str, dict[str, Run]] = {"train": {}, "eval": {}, "attack": {}}
    for key, memory_format in FORMATS.items():
        network = copy.deepcopy(model).to(memory_format=memory_format)
        given = images.contiguous(memory_format=memory_format)
        found["train"][key] = training(network, given, labels, amp=amp)
        found["eval"][key] = evaluation(network, given, amp=amp)
        found["attack"][key] = attack(network, given, labels, amp=amp)
    return found


def gains(runs: dict[str, Run], rounds: int) -> list[float]:
    """Contiguous to channels-last in every round."""
    for run in runs.values():
        run()
    found = []
    for _ in range(rounds):
        seconds = {}
        for key, run in runs.items():
            began = time.process_time()
            run()
            seconds[key] = time.process_time() - began
        found.append(seconds["contiguous"] / seconds["channels_last"])
    return found


def measured(name: str, batch: int, rounds: int, *, amp: bool) -> dict[str, Any]:
    """The row of one network."""
    shape = NETWORKS[name][0]
    model = untrained(name, shape, 10, Preprocessing((0.0,) * shape[0], (1.0,) * shape[0])).model
    rule = {kind: layout(model, shape, training=kind == "train", amp=amp) for kind in ("train", "eval", "attack")}
    found = {kind: gains(runs, rounds) for kind, runs in sides(name, shape, batch, amp=amp).items()}
    return {
        "network": name,
        "batch": batch,
        "amp": amp,
        "rounds": rounds,
        "rule": {kind: str(each).removeprefix("torch.") for kind, each in rule.items()},
        "gain": {kind: [statistics.median(each), min(each), max(each)] for kind, each in found.items()},
    }


def main() -> None:
    """Measure, print the table, and write the rows."""
    options, about = begun(str(__doc__), NETWORKS), processor()
    rows = []
    for each in options.networks:
        name, _, batch = each.partition(":")
        row = measured(name, int(batch or NETWORKS[name][1]), options.rounds, amp=options.amp)
        rows.append(row)
        found = row["gain"].items()
        parts = [f"{k} {m:.2f} ({low:.2f} to {high:.2f}), {row['rule'][k]}" for k, (m, low, high) in found]
        print(f"{name:<32} {'  '.join(parts)}", flush=True)
        if options.out:
            options.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
