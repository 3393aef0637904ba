"""Prunes with one criterion: score, select, mask; once or in rounds."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import PruneRun, StandalonePruning
from prunectl.checkpoints.options.repair import RepairOptions
from prunectl.checkpoints.options.values import recorded
from prunectl.checkpoints.original_shapes import retraceable
from prunectl.criteria.base.criterion import Criterion
from prunectl.criteria.base.pattern import pattern_of
from prunectl.data.images import ImageData
from prunectl.errors import OptionError
from prunectl.plugins.registry import unknown
from prunectl.pruning.latency_trials import LatencyTrials
from prunectl.pruning.options import history_of, method_of, selection, streams
from prunectl.pruning.removal import with_costs
from prunectl.pruning.repair.repair import Report as RepairReport
from prunectl.pruning.repair.repair import repair as repaired
from prunectl.pruning.round import RoundTargets, prune_round_, schedule_named
from prunectl.pruning.rules import SelectionRules
from prunectl.pruning.sanity_checks import CONTROLS
from prunectl.pruning.scoring import batches_for, check_informative, scored
from prunectl.pruning.units.table import unit_of
from prunectl.pruning.units.with_nodes import WithNodes
from prunectl.scores import Scores
from prunectl.torchtools.distributed import processes
from prunectl.torchtools.rng import forked, seed_for

Report = Callable[[int, int, float], None]
"""Called after each round with (round, rounds, sparsity)."""
KeepScores = Callable[[Scores], None]
"""Called in each round with its scores."""


def pruned_by_criterion(
    checkpoint: Checkpoint,
    data: ImageData | None,
    options: StandalonePruning,
    *,
    report: Report | None = None,
    report_repair: RepairReport | None = None,
    latencies: LatencyTrials | None = None,
    keep_scores: KeepScores | None = None,
    reuse: bool = False,
) -> Checkpoint:
    """Prune with the criterion of the options, see `prune.prune`.

    With `reuse`, the checkpoint's network may become the pruned one, which saves the memory of a copy. If the pruning
    `streams`, its values then stay, and the writer of the checkpoint puts zeros where its masks prune.
    """
    criterion, method = options.criterion, method_of(options)
    rules = selection(options, method)
    _check(options, rules, method)
    streamed, given = streams(options), method.options(dict(options.options), f"criterion {criterion}")
    keywords = given.scorer
    options = replace(
        options,
        schedule=options.schedule or method.schedule,
        steps=options.steps or method.steps,
        scope=rules.scope,
        normalize=rules.rules.normalize,
        options={**keywords, **given.prepare},
    )
    steps = method.steps if options.steps is None else options.steps
    planned = schedule_named(str(options.schedule), steps, may_fall=method.regrow_value is not None)
    if method.needs_data and data is None:
        raise OptionError(f"criterion {criterion} scores on images; pass `data`")
    if method.unit != "weights":
        checkpoint = retraceable(checkpoint)
    if method.prepare is not None and any(given.prepare.values()):
        checkpoint = _prepared(checkpoint, method.prepare, rules, given.prepare)
    original = method.unit != "weights" or method.regrow_value or options.controls or options.repair
    model = checkpoint.model if reuse and not original else copy.deepcopy(checkpoint.model)
    unit = unit_of(method, checkpoint, model, rules, untouched=reuse and streamed)
    if isinstance(unit, WithNodes) and unit.spending is not None and latencies is not None:
        unit.spending.trials = latencies
    unit.check(options.sparsity)

    with forked(checkpoint.device):
        torch.manual_seed(seed_for("prune", options.seed))
        batches = batches_for(checkpoint, data, options.batch_size, options.balanced, options.seed)
        batches = batches.of(criterion, method.scorer, keywords)
        targets, i, begun = RoundTargets(planned, options.sparsity), 0, unit.kept

        def score() -> Scores:
            scores = scored(method, unit, batches, keywords, amp=options.amp, progress=i / len(targets))
            if not i:
                check_informative(scores, criterion)
            if keep_scores is not None:
                keep_scores(unit.comparable(scores).held())
            return scores

        while i < len(targets) and not (i and unit.within_budget()):
            prune_round_(unit, targets, i, score, fewer_than=begun if method.regrow_value else unit.kept)
            i += 1
            if report is not None:
                report(i, len(targets), unit.sparsity)
        for control in options.controls:
            unit.apply_(CONTROLS[control](checkpoint, unit.model, unit.masks, options.seed))
    unread = set() if data is not None else {"batch_size", "balanced"}
    chosen = {
        **{key: value for key, value in history_of(options, method).items() if key not in unread},
        **recorded(PruneRun(checkpoint.device.type, processes())),
        "data": None if data is None else data.described,
    }
    made = checkpoint.after("prune", chosen, model=model, masks=unit.masks).with_result(unit.result())
    made = made if options.repair is None else with_repair(made, checkpoint, data, options, report_repair)
    return with_costs(made, unit.analysis) if isinstance(unit, WithNodes) else made


def _prepared(
    checkpoint: Checkpoint, prepare_: Callable[..., None], rules: SelectionRules, keywords: Mapping[str, object]
) -> Checkpoint:
    """The checkpoint with its network in another form that computes the same.

    Raises:
        OptionError: something is already pruned.
    """
    if checkpoint.masks:
        raise OptionError(f"`{'`, `'.join(keywords)}` reorders a dense network, but this one has masks; leave it out")
    model = copy.deepcopy(checkpoint.model)
    prepare_(model, checkpoint.spec.input, rules.scope, rules.keep, **keywords)
    return replace(checkpoint, model=model)


def with_repair(
    made: Checkpoint,
    checkpoint: Checkpoint,
    data: ImageData | None,
    options: StandalonePruning,
    report: RepairReport | None = None,
) -> Checkpoint:
    """The pruned network, repaired in place with the network before pruning as its reference, as one command."""
    asked = RepairOptions(str(options.repair), seed=options.seed)
    fitted = repaired(made, data, asked, reference=checkpoint, report=report, in_order=True, in_place=True)
    pruning, fitting = fitted.history[-2:]
    return replace(fitted, history=(*made.history[:-1], pruning)).with_result({**pruning.result, **fitting.result})


def _check(options: StandalonePruning, rules: SelectionRules, method: Criterion) -> None:
    """Refuse no or several targets, and options that exclude each other."""
    targets = [t for t in (options.sparsity, rules.budget, rules.threshold, pattern_of(rules.scope)) if t is not None]
    if len(targets) != 1:
        raise OptionError("use one target: a sparsity, a budget, a threshold, or a scope such as 2:4")
    for control in options.controls:
        if control not in CONTROLS:
            raise unknown("control", control, CONTROLS)
    if "shuffle-layerwise" in options.controls and method.unit != "weights":
        raise OptionError(
            "the shuffle is for masks of weights, but this criterion prunes nodes; use structured-random as a control"
        )
    if method.needs_training:
        name = options.criterion
        raise OptionError(f"{name} prunes only during training; run prunectl train --criterion {name}")
