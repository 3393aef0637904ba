"""Training throughput: prunectl's trainer against the fastest bare loop over float tensors, and masked against dense.

Run as `python -m tests.benchmarks.throughput [--rounds N] [--amp] [--out FILE.json] [NETWORK[:BATCH:STEPS] ..]`, one
thread. The sides take turns (A B C D A B C D ...) in one process: the bare loop in both layouts, the trainer on the
dense network, and on one masked to 0.9. *bare* is the median over rounds of the time of the faster bare loop (by
medians) divided by that of the trainer, *masked* that of the dense trainer divided by that of the masked one: 1 is as
fast, less is slower. Times are processor seconds.
"""

import copy
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from prunectl.checkpoints.options.training import Recipe
from prunectl.data.images import ImageData, Images, Preprocessing
from prunectl.models.fresh import fresh
from prunectl.pruning.prune import prune
from prunectl.training.trainer import Trainer
from tests.benchmarks.one_thread import begun, processor

NETWORKS = {
    "mlp5": ((1, 28, 28), 128, 20),
    "lenet5": ((1, 28, 28), 128, 8),
    "conv6": ((3, 32, 32), 32, 2),
    "vgg16": ((3, 32, 32), 16, 2),
    "resnet18": ((3, 32, 32), 32, 2),
    "resnet20": ((3, 32, 32), 32, 2),
}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def dataset(count: int, shape: tuple[int, int, int] = (1, 28, 28)) -> ImageData:
    """Noise, with no test images: evaluation is not what is timed."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % 10
    images, none = Images(pixels, labels), Images(pixels[:0], labels[:0])
    preprocessing = Preprocessing((0.286,) * shape[0], (0.353,) * shape[0])
    return ImageData("noise", images, none, tuple("0123456789"), preprocessing)


def bare(model: nn.Module, data: ImageData, batch: int, memory_format: torch.memory_format, *, amp: bool) -> Any:
    """What one would write by hand."""
    assert isinstance(data.train, Images)
    model = model.to(memory_format=memory_format)
    inputs, labels = data.preprocessing(data.train.pixels), data.train.labels
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=5e-5, fused=True)

    def run() -> None:
        model.train()
        order = torch.randperm(len(inputs))
        for i in range(0, len(inputs), batch):
            index = order[i : i + batch]
            images = inputs[index].contiguous(memory_format=memory_format)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
                loss = nn.functional.cross_entropy(model(images), labels[index])
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


def measured(name: str, batch: int, steps: int, rounds: int, *, amp: bool) -> dict[str, Any]:
    """The row of one network."""
    data = dataset(batch * steps, NETWORKS[name][0])
    dense = fresh(name, data, source="noise")
    masked = prune(dense, None, criterion="magnitude", sparsity=0.9)
    recipe = Recipe(epochs=10**6 // steps, batch_size=batch, amp=amp)
    trainers = {"dense": Trainer(dense, data, recipe), "masked": Trainer(masked, data, recipe)}
    sides: dict[str, Callable[[], None]] = {side: ours(trainer) for side, trainer in trainers.items()}
    for key, memory_format in FORMATS.items():
        sides[key] = bare(copy.deepcopy(dense.model), data, batch, memory_format, amp=amp)
    for run in sides.values():
        run()
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, run in sides.items():
            began = time.process_time()
            run()
            taken[side].append(time.process_time() - began)
    fastest = min(FORMATS, key=lambda key: statistics.median(taken[key]))

    def ratio(over: str, under: str) -> list[float]:
        found = [a / b for a, b in zip(taken[over], taken[under], strict=True)]
        return [round(each, 3) for each in (statistics.median(found), min(found), max(found))]

    return {
        "network": name,
        "batch": batch,
        "steps": steps,
        "rounds": rounds,
        "amp": amp,
        "ms": round(1e3 * statistics.median(taken["dense"]) / steps, 2),
        "layout": str(trainers["dense"].learner.memory_format).removeprefix("torch."),
        "fastest_bare": fastest,
        "bare": ratio(fastest, "dense"),
        "masked": ratio("dense", "masked"),
    }


def main() -> None:
    """Measure, print the table, and write the rows."""
    options, about = begun(str(__doc__), NETWORKS), processor()
    rows = []
    print("| network | ms a step | layout | fastest bare loop | bare | masked |\n|---|--:|---|---|--:|--:|")
    for each in options.networks:
        name, *given = each.split(":")
        batch, steps = map(int, given) if given else NETWORKS[name][1:]
        row = measured(name, batch, steps, options.rounds, amp=options.amp)
        rows.append(row)
        shown = [f"{m:.2f} ({low:.2f} to {high:.2f})" for m, low, high in (row["bare"], row["masked"])]
        print(f"| {name} | {row['ms']} | {row['layout']} | {row['fastest_bare']} | {' | '.join(shown)} |", flush=True)
        if options.out:
            options.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
