"""prune: score, select, mask; once or in rounds."""

import copy
from collections.abc import Callable, Iterator, Mapping
from itertools import count

import torch
from torch import Tensor

from prunectl.budget import Budget
from prunectl.checkpoint import Checkpoint
from prunectl.criterion import criterion_named
from prunectl.errors import OptionError
from prunectl.expand import retraceable
from prunectl.images import ImageData, ImageSource, Preprocessing, mixed
from prunectl.registry import keyword_options, resolve
from prunectl.schedule import DEFAULT_STEPS, check_sparsity
from prunectl.seeds import seed_for
from prunectl.unit import EVERY_NODE, NodeRules
from prunectl.units import unit_of

Report = Callable[[int, int, float], None]
"""Called after each round with (round, rounds, sparsity)."""


def prune(
    checkpoint: Checkpoint,
    data: ImageData | None,
    *,
    criterion: str = "snipit",
    sparsity: float | None = None,
    budget: Budget | None = None,
    schedule: str | None = None,
    steps: int = DEFAULT_STEPS,
    scope: str | None = None,
    options: Mapping[str, str] | None = None,
    rules: NodeRules = EVERY_NODE,
    batch_size: int = 128,
    seed: int = 0,
    report: Report | None = None,
) -> Checkpoint:
    """Prune to a sparsity in (0, 1) of the ORIGINAL dense network, or to a budget; one of both is given.

    The sparsity is of nodes where the criterion prunes nodes, else of weights, and exact to the node or weight (unless
    `rules` ask for multiples). A budget is solved in every round by the ranking of that round. Every round scores the
    network with its masks applied, on fresh batches, and never revives what is pruned. The checkpoint that comes in is
    not changed. `data` may be None for a criterion that needs none.

    Raises:
        OptionError: a target that cannot be reached, or that is reached already; unknown options.
        UnknownName: no such criterion or schedule.
        StructureError: nodes are to be pruned, and the network cannot be followed.
    """
    if (sparsity is None) == (budget is None):
        raise OptionError("give one target: a sparsity or a budget")
    if sparsity is not None:
        check_sparsity(sparsity)
    if batch_size < 2:
        raise OptionError(f"scores need batches of 2 images or more (BatchNorm), got --batch-size {batch_size}")
    method = criterion_named(criterion)
    keywords = keyword_options(method.scorer, dict(options or {}), f"criterion {criterion}")
    planned = resolve("schedule", schedule or method.schedule)
    if method.needs_data and data is None:
        raise OptionError(f"criterion {criterion} scores on images; give --data")
    if method.unit != "weights":
        checkpoint = retraceable(checkpoint)
    model = copy.deepcopy(checkpoint.model)
    unit = unit_of(method, checkpoint, model, scope=scope or method.scope, rules=rules, budget=budget)
    unit.check(sparsity)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("prune", seed))
        batches: Iterator[tuple[Tensor, Tensor]] = iter(())
        if data is not None:
            images = data.train.to(checkpoint.device)
            batches = endless(images, checkpoint.preprocessing, checkpoint.device, batch_size, seed)
        rounds, i = planned(sparsity, steps) if sparsity is not None else (1.0,), 0
        while i < len(rounds) and not (i and unit.within_budget()):
            if unit.keep(rounds[i]) < unit.kept:
                scores = method.scorer(model, batches, *unit.inputs, **keywords)
                if budget is not None:
                    rounds = planned(unit.sparsity_in_budget(scores), steps)
                unit.take(unit.selected(scores, rounds[min(i, len(rounds) - 1)]))
            i += 1
            if report is not None:
                report(i, len(rounds), unit.sparsity)
    chosen = {
        "criterion": criterion,
        **({"sparsity": sparsity} if budget is None else {budget.kind: budget.text}),
        "schedule": schedule or method.schedule,
        "steps": steps,
        "scope": scope or method.scope,
        **unit.chosen,
        "options": keywords,
        "batch_size": batch_size,
        "data": None if data is None else data.described,
        "device": checkpoint.device.type,
        "seed": seed,
    }
    return checkpoint.after("prune", chosen, model=model, masks=unit.masks).noting(unit.result())


def endless(
    images: ImageSource, preprocessing: Preprocessing, device: torch.device, size: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised batches on a device, reshuffled when they run out."""
    for epoch in count():
        for pixels, labels in images.batches(size, seed=mixed(seed, epoch)):
            yield preprocessing(pixels.to(device)), labels.to(device)
