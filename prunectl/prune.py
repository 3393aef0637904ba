"""prune: score, select, mask; once or in rounds."""

import copy
from collections.abc import Callable, Iterator, Mapping
from itertools import count

import torch
from torch import Tensor

from prunectl.checkpoint import Checkpoint
from prunectl.criterion import criterion_named
from prunectl.errors import OptionError
from prunectl.images import ImageData, ImageSource, Preprocessing, mixed
from prunectl.masks import Masks
from prunectl.registry import keyword_options, resolve
from prunectl.schedule import DEFAULT_STEPS, check_sparsity
from prunectl.seeds import seed_for
from prunectl.select import select

Report = Callable[[int, int, float], None]
"""Called after each round with (round, rounds, weight sparsity)."""


def prune(
    checkpoint: Checkpoint,
    data: ImageData | None,
    *,
    criterion: str = "snipit",
    sparsity: float,
    schedule: str | None = None,
    steps: int = DEFAULT_STEPS,
    scope: str | None = None,
    options: Mapping[str, str] | None = None,
    batch_size: int = 128,
    seed: int = 0,
    report: Report | None = None,
) -> Checkpoint:
    """Prune to a weight sparsity in (0, 1) of the ORIGINAL dense network, exact to the weight.

    Every round scores the network with its masks applied, on fresh batches, and never revives what is pruned. The
    checkpoint that comes in is not changed. `data` may be None for a criterion that needs none.

    Raises:
        OptionError: a sparsity that cannot be reached, or that is reached already; unknown options.
        UnknownName: no such criterion or schedule.
    """
    check_sparsity(sparsity)
    if batch_size < 2:
        raise OptionError(f"scores need batches of 2 images or more (BatchNorm), got --batch-size {batch_size}")
    method = criterion_named(criterion)
    keywords = keyword_options(method.scorer, dict(options or {}), f"criterion {criterion}")
    rounds = resolve("schedule", schedule or method.schedule)(sparsity, steps)
    scope = scope or method.scope
    if method.needs_data and data is None:
        raise OptionError(f"criterion {criterion} scores on images; give --data")

    model, masks = copy.deepcopy(checkpoint.model), checkpoint.masks
    total = checkpoint.dense.weights
    _check_reachable(total, masks.kept(model), sparsity)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("prune", seed))
        batches: Iterator[tuple[Tensor, Tensor]] = iter(())
        if data is not None:
            images = data.train.to(checkpoint.device)
            batches = _endless(images, checkpoint.preprocessing, checkpoint.device, batch_size, seed)
        for i, target in enumerate(rounds):
            keep = total - round(target * total)
            if keep < masks.kept(model):
                scores = method.scorer(model, batches, **keywords)
                masks = Masks({**masks, **select(scores, masks, keep, scope)})
                masks.apply_(model)
            if report is not None:
                report(i + 1, len(rounds), 1 - masks.kept(model) / total)
    chosen = {
        "criterion": criterion,
        "sparsity": sparsity,
        "schedule": schedule or method.schedule,
        "steps": steps,
        "scope": scope,
        "options": keywords,
        "batch_size": batch_size,
        "data": None if data is None else data.described,
        "device": checkpoint.device.type,
        "seed": seed,
    }
    return checkpoint.after("prune", chosen, model=model, masks=masks)


def _check_reachable(total: int, kept: int, sparsity: float) -> None:
    """Refuse a target that the network has passed already."""
    now = 1 - kept / total
    if total - round(sparsity * total) >= kept:
        raise OptionError(
            f"the network is at weight sparsity {now:.4g} already, {sparsity:.4g} was asked; ask for more"
        )


def _endless(
    images: ImageSource, preprocessing: Preprocessing, device: torch.device, size: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised batches on the device, reshuffled when they run out."""
    for epoch in count():
        for pixels, labels in images.batches(size, seed=mixed(seed, epoch)):
            yield preprocessing(pixels.to(device)), labels.to(device)
