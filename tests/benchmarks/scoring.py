"""What a round of scoring costs beside forward and backward passes over the same batches: time, and peak memory.

Run as `python -m tests.benchmarks.scoring DATA [ROUNDS [NETWORK ..]]`; DATA such as `imagefolder:PATH` or `cifar10`
holds 3x32x32 images. Times are medians of ratios over rounds in which the two take turns, on one thread; memory is
measured in processes of their own (Linux), as the most that was resident less what was before.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.criteria.base.criterion import criterion_named
from prunectl.data.load import load_data
from prunectl.data.sampling import scoring_batches
from prunectl.masks import prunable
from prunectl.models.fresh import fresh
from prunectl.structure.trace import trace

NETWORKS = ("conv6", "resnet18", "vgg16")
CRITERIA = ("snip", "snap", "grasp")
SIZE, BATCHES = 64, 5


def bare(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    """Forward and backward over the batches, gradients added up by autograd."""
    model.eval()
    weights = list(prunable(model).values())
    sums = [torch.zeros_like(weight) for weight in weights]
    for inputs, labels in batches:
        found = torch.autograd.grad(nn.functional.cross_entropy(model(inputs), labels), weights)
        torch._foreach_add_(sums, found)


def sides(name: str, begun: Checkpoint, batches: list[tuple[Tensor, Tensor]]) -> dict[str, Callable[[], object]]:
    """The two things that are compared."""
    method = criterion_named(name)
    more = (trace(begun.model, begun.spec.input),) if method.unit == "nodes" else ()
    return {
        "bare": lambda: bare(begun.model, batches),
        name: lambda: method.scorer(begun.model, iter(batches), *more, batches=BATCHES),
    }


def peak(network: str, name: str, data: str) -> int:
    """The bytes that a side adds to what is resident, in a process of its own."""
    line = [sys.executable, "-m", "tests.benchmarks.scoring", data, "--side", network, name]
    return int(subprocess.run(line, check=True, capture_output=True, text=True).stdout)


def prepared(network: str, data: str) -> tuple[Checkpoint, list[tuple[Tensor, Tensor]]]:
    """A fresh network and the batches."""
    torch.set_num_threads(1)
    images = load_data(data).subset(2000, seed=0)
    begun = fresh(network, images, source="benchmark")
    endless = scoring_batches(images.train, begun.preprocessing, begun.device, SIZE, 0)
    return begun, list(islice(endless, BATCHES))


def side(network: str, name: str, data: str) -> None:
    """Print the peak of one side."""
    begun, batches = prepared(network, data)
    both = sides("snip" if name == "bare" else name, begun, batches)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    both[name]()
    print(resident("VmHWM") - before)


def resident(field: str) -> int:
    """Bytes of a line in Linux's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def main(data: str, rounds: int, networks: tuple[str, ...]) -> None:
    """Print the table."""
    print("| network | criterion | time / bare | MB | MB bare |\n|---|---|--:|--:|--:|")
    for network in networks:
        begun, batches = prepared(network, data)
        plain = peak(network, "bare", data)
        for name in CRITERIA:
            both = sides(name, begun, batches)
            ratios = []
            for _ in range(rounds):
                times = {}
                for key, run in both.items():
                    started = time.perf_counter()
                    run()
                    times[key] = time.perf_counter() - started
                ratios.append(times[name] / times["bare"])
            memory = peak(network, name, data)
            print(
                f"| {network} | {name} | {statistics.median(ratios):.2f} | {memory / 1e6:.0f} | {plain / 1e6:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    if "--side" in sys.argv:
        side(sys.argv[3], sys.argv[4], sys.argv[1])
    else:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5, tuple(sys.argv[3:]) or NETWORKS)
