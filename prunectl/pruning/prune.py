"""prune: score, select, mask; once or in rounds."""

import copy
from collections.abc import Callable, Mapping, Sequence

import torch

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.original_shapes import retraceable
from prunectl.criteria.base.criterion import criterion_named
from prunectl.criteria.base.lift import for_nodes
from prunectl.criteria.base.schedules import check_sparsity
from prunectl.data.images import ImageData
from prunectl.errors import OptionError
from prunectl.plugins.registry import resolve, unknown
from prunectl.pruning.budget import Budget
from prunectl.pruning.round import RoundTargets, prune_round_
from prunectl.pruning.rules import EVERY_NODE, NodeRules, SelectionRules
from prunectl.pruning.sanity_checks import CONTROLS
from prunectl.pruning.scoring import batches_for, check_informative, scored
from prunectl.pruning.select import pattern_of
from prunectl.pruning.units.table import unit_of
from prunectl.scores import Scores
from prunectl.torchtools.distributed import processes
from prunectl.torchtools.rng import forked, seed_for

Report = Callable[[int, int, float], None]
"""Called after each round with (round, rounds, sparsity)."""


def prune(
    checkpoint: Checkpoint,
    data: ImageData | None,
    *,
    criterion: str = "snipit",
    sparsity: float | None = None,
    budget: Budget | None = None,
    threshold: float | None = None,
    schedule: str | None = None,
    steps: int | None = None,
    scope: str | None = None,
    unit: str | None = None,
    options: Mapping[str, str] | None = None,
    rules: NodeRules = EVERY_NODE,
    batch_size: int = 128,
    balanced: bool = True,
    amp: bool = False,
    controls: Sequence[str] = (),
    seed: int = 0,
    report: Report | None = None,
    keep_scores: Callable[[Scores], None] | None = None,
) -> Checkpoint:
    """Prune to a sparsity in (0, 1) of the ORIGINAL dense network, to a budget, or what scores up to a threshold.

    The sparsity is of nodes where the criterion prunes nodes, else of weights, and exact to the node or weight (unless
    `rules` ask for multiples). A budget is solved in every round by the ranking of that round; a scope such as 2:4 is a
    target of its own. `unit` "nodes" makes a criterion of nodes from one of weights. Every round scores the network
    with its masks applied, on fresh batches, with all classes `balanced`, and never revives what is pruned, unless the
    criterion regrows. `controls` names sanity checks that follow (`controls.CONTROLS`). The checkpoint that comes in is
    not changed. `data` may be None for a criterion that needs none. `keep_scores` gets the scores of every round.

    Raises:
        OptionError: a target that cannot be reached, or that is reached already; unknown options.
        UnknownName: no such criterion, schedule or control.
        StructureError: nodes are to be pruned, and the network cannot be followed.
    """
    method = for_nodes(criterion_named(criterion), unit, criterion)
    how = SelectionRules(scope or method.scope, rules, budget, threshold, method.regrow_value)
    _check(how, sparsity, batch_size, controls)
    if "shuffle-layerwise" in controls and method.unit != "weights":
        raise OptionError("shuffling is for masks of weights; these are of nodes, take structured-random as a control")
    if method.needs_training:
        raise OptionError(f"{criterion} prunes while a network trains: prunectl train --criterion {criterion}")
    keywords, _ = method.options(dict(options or {}), f"criterion {criterion}")
    planned, steps = resolve("schedule", schedule or method.schedule), steps or method.steps
    if method.needs_data and data is None:
        raise OptionError(f"criterion {criterion} scores on images; give --data")
    if method.unit != "weights":
        checkpoint = retraceable(checkpoint)
    model = copy.deepcopy(checkpoint.model)
    state = unit_of(method, checkpoint, model, how)
    state.check(sparsity)

    with forked(checkpoint.device):
        torch.manual_seed(seed_for("prune", seed))
        batches = batches_for(checkpoint, data, batch_size, balanced, seed)
        targets, i, begun = RoundTargets(lambda target: planned(target, steps), sparsity), 0, state.kept

        def score() -> Scores:
            scores = scored(method, state, batches, keywords, amp=amp, progress=i / len(targets))
            if not i:
                check_informative(scores, criterion)
            if keep_scores is not None:
                keep_scores(scores)
            return scores

        while i < len(targets) and not (i and state.within_budget()):
            prune_round_(state, targets, i, score, fewer_than=begun if method.regrow_value else state.kept)
            i += 1
            if report is not None:
                report(i, len(targets), state.sparsity)
        for control in controls:
            state.apply_(CONTROLS[control](checkpoint, state.model, state.masks, seed))
    chosen = {
        "criterion": criterion,
        **({} if unit is None else {"unit": unit}),
        **({} if sparsity is None else {"sparsity": sparsity}),
        **({} if budget is None else {budget.kind: budget.text}),
        **({} if threshold is None else {"threshold": threshold}),
        "schedule": schedule or method.schedule,
        "steps": steps,
        "scope": how.scope,
        **state.chosen,
        "options": keywords,
        "batch_size": batch_size,
        "balanced": balanced,
        "amp": amp,
        **({"controls": list(controls)} if controls else {}),
        **({"processes": processes()} if processes() > 1 else {}),
        "data": None if data is None else data.described,
        "device": checkpoint.device.type,
        "seed": seed,
    }
    return checkpoint.after("prune", chosen, model=model, masks=state.masks).with_result(state.result())


def _check(how: SelectionRules, sparsity: float | None, batch_size: int, controls: Sequence[str]) -> None:
    """Refuse none or several targets, and values that cannot be."""
    targets = [t for t in (sparsity, how.budget, how.threshold, pattern_of(how.scope)) if t is not None]
    if len(targets) != 1:
        raise OptionError("give one target: a sparsity, a budget, a threshold, or a scope such as 2:4")
    if sparsity is not None:
        check_sparsity(sparsity)
    if batch_size < 2:
        raise OptionError(f"scores need batches of 2 images or more (BatchNorm), got --batch-size {batch_size}")
    for control in controls:
        if control not in CONTROLS:
            raise unknown("control", control, CONTROLS)
