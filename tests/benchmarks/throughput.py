"""Training throughput: prunectl's trainer against a bare loop over float tensors, and masked against dense.

Run as `python tests/benchmarks/throughput.py [ROUNDS]`. The sides take turns (A B C A B C ...) in one process; the
table shows medians over rounds of the time that each needs relative to the bare loop, or to the dense trainer.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from prunectl.data.images import ImageData, Images, Preprocessing
from prunectl.models.fresh import fresh
from prunectl.pruning.prune import prune
from prunectl.training.recipe import Recipe
from prunectl.training.trainer import Trainer

BATCH = 128
STEPS = {"mlp5": 60, "conv6": 4}


def dataset(count: int) -> ImageData:
    """Noise in the shape of Fashion-MNIST, with no test images: evaluation is not what is timed."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % 10
    images, none = Images(pixels, labels), Images(pixels[:0], labels[:0])
    return ImageData("noise", images, none, tuple("0123456789"), Preprocessing((0.286,), (0.353,)))


def bare(model: nn.Module, data: ImageData) -> Callable[[], None]:
    """What one would write by hand."""
    assert isinstance(data.train, Images)
    inputs, labels = data.preprocessing(data.train.pixels), data.train.labels
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=5e-5, fused=True)

    def run() -> None:
        model.train()
        order = torch.randperm(len(inputs))
        for i in range(0, len(inputs), BATCH):
            index = order[i : i + BATCH]
            loss = nn.functional.cross_entropy(model(inputs[index]), labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return run


def ours(trainer: Trainer) -> Callable[[], None]:
    """An epoch of prunectl's trainer."""
    steps = trainer.steps()

    def run() -> None:
        for _ in range(trainer.steps_per_epoch):
            next(steps)

    return run


def main(rounds: int) -> None:
    """Print the table."""
    print("network  prunectl/bare  masked/dense  (medians of", rounds, "rounds)")
    for name, steps in STEPS.items():
        data = dataset(BATCH * steps)
        dense = fresh(name, data, source="noise")
        masked = prune(dense, data, criterion="magnitude", sparsity=0.9)
        recipe = Recipe(epochs=10**6 // steps, batch_size=BATCH)
        sides = {
            "bare": bare(fresh(name, data, source="noise").model, data),
            "dense": ours(Trainer(dense, data, recipe)),
            "masked": ours(Trainer(masked, data, recipe)),
        }
        for run in sides.values():
            run()
        taken: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(rounds):
            for side, run in sides.items():
                started = time.perf_counter()
                run()
                taken[side].append(time.perf_counter() - started)
        against_bare = statistics.median(a / b for a, b in zip(taken["dense"], taken["bare"], strict=True))
        against_dense = statistics.median(a / b for a, b in zip(taken["masked"], taken["dense"], strict=True))
        print(f"{name:<8} {against_bare:>13.3f}  {against_dense:>12.3f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 21)
