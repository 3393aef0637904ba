"""prune: score, select, mask; once or in rounds."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import PruneRun, StandalonePruning
from prunectl.checkpoints.options.repair import RepairOptions
from prunectl.checkpoints.options.values import recorded
from prunectl.checkpoints.original_shapes import retraceable
from prunectl.criteria.base.criterion import Criterion
from prunectl.data.images import ImageData
from prunectl.errors import OptionError
from prunectl.plugins.registry import resolve, unknown
from prunectl.pruning.budget import Budget
from prunectl.pruning.options import history_of, method_of, selection
from prunectl.pruning.repair.repair import repair as repaired
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
KeepScores = Callable[[Scores], None]
"""Called in each round with its scores."""


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
    keep: Sequence[str] = (),
    batch_size: int = 128,
    balanced: bool = True,
    amp: bool = False,
    controls: Sequence[str] = (),
    repair: str | None = None,
    seed: int = 0,
    report: Report | None = None,
    keep_scores: KeepScores | None = None,
) -> Checkpoint:
    """Prune to a sparsity in (0, 1) of the ORIGINAL dense network, to a budget, or all scores up to a threshold.

    The sparsity is that of nodes where the criterion prunes nodes, else of weights, and exact to the node or weight
    (unless `rules` ask for multiples). A budget is solved in every round by the ranking of that round; a scope such as
    2:4 is a target of its own. `unit` "nodes" makes a criterion of nodes from one of weights. Every round scores the
    network with its masks applied, on fresh batches, with all classes `balanced`, and never revives what is pruned,
    unless the criterion regrows. `keep` names layers that stay as they are, as shell patterns of module or parameter
    names; the sparsity is still that of the whole network. `controls` names sanity checks that follow
    (`sanity_checks.CONTROLS`), `repair` how what is left is then fitted to the checkpoint (`repair.repair`). The
    checkpoint that comes in is not changed. `data` may be None for a criterion that
    needs none. `keep_scores` receives the scores of every round.

    Raises:
        OptionError: a target that cannot be reached, or that is reached already; unknown options.
        UnknownName: no such criterion, schedule, control or layer.
        StructureError: nodes are to be pruned, and the network cannot be followed.
    """
    asked: dict[str, Any] = {} if budget is None else {budget.kind: budget.text}
    chosen = StandalonePruning(
        criterion=criterion,
        sparsity=sparsity,
        threshold=threshold,
        schedule=schedule,
        steps=steps,
        scope=scope,
        unit=unit,
        options=dict(options or {}),
        **asdict(rules),
        keep=tuple(keep),
        **asked,
        batch_size=batch_size,
        balanced=balanced,
        amp=amp,
        controls=tuple(controls),
        repair=repair,
        seed=seed,
    )
    return pruned(checkpoint, data, chosen, report=report, keep_scores=keep_scores)


def pruned(
    checkpoint: Checkpoint,
    data: ImageData | None,
    options: StandalonePruning,
    *,
    report: Report | None = None,
    keep_scores: KeepScores | None = None,
) -> Checkpoint:
    """Prune as `prune` does, with its options in one value."""
    criterion, method = options.criterion, method_of(options)
    rules = selection(options, method)
    _check(options, rules, method)
    keywords, _ = method.options(dict(options.options), f"criterion {criterion}")
    options = replace(
        options,
        schedule=options.schedule or method.schedule,
        steps=options.steps or method.steps,
        scope=rules.scope,
        normalize=rules.rules.normalize,
        options=keywords,
    )
    planned = partial(resolve("schedule", str(options.schedule)), steps=options.steps)
    if method.needs_data and data is None:
        raise OptionError(f"criterion {criterion} scores on images; give `data`")
    if method.unit != "weights":
        checkpoint = retraceable(checkpoint)
    model = copy.deepcopy(checkpoint.model)
    unit = unit_of(method, checkpoint, model, rules)
    unit.check(options.sparsity)

    with forked(checkpoint.device):
        torch.manual_seed(seed_for("prune", options.seed))
        batches = batches_for(checkpoint, data, options.batch_size, options.balanced, options.seed)
        targets, i, begun = RoundTargets(planned, options.sparsity), 0, unit.kept

        def score() -> Scores:
            scores = scored(method, unit, batches, keywords, amp=options.amp, progress=i / len(targets))
            if not i:
                check_informative(scores, criterion)
            if keep_scores is not None:
                keep_scores(unit.comparable(scores))
            return scores

        while i < len(targets) and not (i and unit.within_budget()):
            prune_round_(unit, targets, i, score, fewer_than=begun if method.regrow_value else unit.kept)
            i += 1
            if report is not None:
                report(i, len(targets), unit.sparsity)
        for control in options.controls:
            unit.apply_(CONTROLS[control](checkpoint, unit.model, unit.masks, options.seed))
    chosen = {
        **history_of(options, method),
        **recorded(PruneRun(checkpoint.device.type, processes())),
        "data": None if data is None else data.described,
    }
    made = checkpoint.after("prune", chosen, model=model, masks=unit.masks).with_result(unit.result())
    return made if options.repair is None else _repaired(made, checkpoint, data, options)


def _repaired(
    made: Checkpoint, checkpoint: Checkpoint, data: ImageData | None, options: StandalonePruning
) -> Checkpoint:
    """The pruned network fitted to what it was pruned from, as one command with the pruning."""
    asked = RepairOptions(str(options.repair), seed=options.seed)
    fitted = repaired(made, data, asked, reference=checkpoint)
    pruning, fitting = fitted.history[-2:]
    return replace(fitted, history=(*made.history[:-1], pruning)).with_result({**pruning.result, **fitting.result})


def _check(options: StandalonePruning, rules: SelectionRules, method: Criterion) -> None:
    """Refuse none or several targets, and options that do not go together."""
    targets = [t for t in (options.sparsity, rules.budget, rules.threshold, pattern_of(rules.scope)) if t is not None]
    if len(targets) != 1:
        raise OptionError("give one target: a sparsity, a budget, a threshold, or a scope such as 2:4")
    for control in options.controls:
        if control not in CONTROLS:
            raise unknown("control", control, CONTROLS)
    if "shuffle-layerwise" in options.controls and method.unit != "weights":
        raise OptionError("shuffling is for masks of weights; these are of nodes, take structured-random as a control")
    if method.needs_training:
        name = options.criterion
        raise OptionError(f"{name} prunes while a network trains: prunectl train --criterion {name}")
