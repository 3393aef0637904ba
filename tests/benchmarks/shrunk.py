"""VGG16 pruned by SNAP-it to 93 % node sparsity: what it costs dense, masked, shrunk, and built at those widths.

Run as `python -m tests.benchmarks.shrunk DATA [ROUNDS]`; DATA such as `imagefolder:PATH` or `cifar10` holds 3x32x32
images of 10 classes. Latencies are medians over rounds in which the four networks take turns, on one
thread; the network that is built directly has the widths of the shrunk one and fresh weights.
"""

import statistics
import sys

import torch
from torch import nn
from torch.utils.benchmark import Timer

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.load import load_data
from prunectl.measuring.evaluate import costs
from prunectl.models.fresh import fresh
from prunectl.models.layers import SLOPE
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink

SPARSITY = 0.93


def built_directly(small: nn.Module) -> nn.Sequential:
    """Plain layers in the order of VGG16, as wide as those of the shrunk network."""
    layers: list[nn.Module] = []
    for module in small.modules():
        match module:
            case nn.Conv2d():
                layers.append(nn.Conv2d(module.weight.shape[1], module.weight.shape[0], 3, padding=1))
            case nn.Linear():
                layers.append(nn.Linear(module.weight.shape[1], module.weight.shape[0]))
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                layers.append(type(module)(module.weight.shape[0]))
            case nn.LeakyReLU():
                layers.append(nn.LeakyReLU(SLOPE))
            case nn.MaxPool2d():
                layers.append(nn.MaxPool2d(2))
            case nn.AdaptiveAvgPool2d():
                layers.append(nn.AdaptiveAvgPool2d((2, 2)))
            case nn.Flatten():
                layers.append(nn.Flatten())
            case nn.Dropout():
                layers.append(nn.Dropout())
    return nn.Sequential(*layers)


def seconds(networks: dict[str, nn.Module], batch: int, rounds: int) -> dict[str, list[float]]:
    """Seconds for one batch, a list over rounds for every network."""
    images = torch.randn(batch, 3, 32, 32)
    taken: dict[str, list[float]] = {name: [] for name in networks}
    with torch.inference_mode():
        timers = {
            name: Timer("network(images)", globals={"network": network.eval(), "images": images}, num_threads=1)
            for name, network in networks.items()
        }
        runs = {name: max(2, int(0.1 / timer.timeit(2).mean)) for name, timer in timers.items()}
        for _ in range(rounds):
            for name, timer in timers.items():
                taken[name].append(timer.timeit(runs[name]).mean)
    return taken


def row(name: str, checkpoint: Checkpoint) -> str:
    """One line of the first table."""
    found = costs(checkpoint)
    return (
        f"| {name} | {found['node_sparsity']:.4f} | {found['weight_sparsity']:.4f} | {found['weights']:,} | "
        f"{found['parameters']:,} | {found['flops']:,} |"
    )


def main(rounds: int, data: str) -> None:
    """Print the tables."""
    images = load_data(data)
    dense = fresh("vgg16", images, source=data)
    masked = prune(dense, images, criterion="snapit", sparsity=SPARSITY)
    small = shrink(masked)
    widths = [m.weight.shape[0] for m in small.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    print("widths:", *widths, "| proof:", small.history[-1].result["proof"], "\n")
    print("| network | node sparsity | weight sparsity | weights | parameters | FLOPs |\n|---|---|---|---|---|---|")
    for name, checkpoint in {"dense": dense, "masked": masked, "shrunk": small}.items():
        print(row(name, checkpoint))
    networks = {"dense": dense.model, "masked": masked.model, "shrunk": small.model}
    networks["built"] = built_directly(small.model)
    print("\n| batch | dense ms | masked ms | shrunk ms | dense / shrunk | shrunk / built directly |")
    print("|---|---|---|---|---|---|")
    for batch in (1, 64):
        taken = seconds(networks, batch, rounds)
        middle = {name: 1e3 * statistics.median(times) for name, times in taken.items()}
        faster, same = (
            statistics.median(a / b for a, b in zip(taken[one], taken[other], strict=True))
            for one, other in (("dense", "shrunk"), ("shrunk", "built"))
        )
        shown = " | ".join(f"{middle[name]:.3f}" for name in ("dense", "masked", "shrunk"))
        print(f"| {batch} | {shown} | {faster:.1f} | {same:.3f} |")


if __name__ == "__main__":
    main(int(sys.argv[2]) if len(sys.argv) > 2 else 11, sys.argv[1])
