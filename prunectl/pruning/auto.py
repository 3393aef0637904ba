"""auto: chooses the best of several criteria for a trained network, by accuracy after a repair."""

from dataclasses import replace

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import BUDGETS, PruneRun, StandalonePruning
from prunectl.checkpoints.options.values import recorded
from prunectl.data.images import ImageData
from prunectl.errors import OptionError
from prunectl.plugins.registry import unknown
from prunectl.pruning.by_criterion import Report
from prunectl.pruning.candidates import CANDIDATES
from prunectl.pruning.latency_trials import LatencyTrials
from prunectl.pruning.options import history_of, method_of
from prunectl.pruning.smallest import MOST_TRIALS, smallest
from prunectl.pruning.trials import Trial, Trials, check_trained, held_out
from prunectl.torchtools.distributed import processes

_CHOSEN = ("threshold", "schedule", "steps", "scope", "normalize")
"""Options that belong to a single criterion."""


def pruned_by_the_best(
    checkpoint: Checkpoint,
    data: ImageData | None,
    options: StandalonePruning,
    *,
    report: Report | None = None,
    latencies: LatencyTrials | None = None,
) -> Checkpoint:
    """Prune a trained network with every candidate for its unit, repair, and keep the most accurate result.

    The default unit is weights for a sparsity, nodes for a budget or a minimum accuracy. Accuracy is measured on a
    fixed fifth of the training images, which neither scores nor repairs use (`held_out`). The default repair is
    `refit`. With `min_accuracy`, the smallest network that reaches it is kept (`smallest`). The last entry of the
    history has a row per trial, under `tried`, and the accuracy before pruning, under `dense_accuracy`. `report` is
    called after each trial with (trials, most trials, accuracy); all trials share `latencies`.

    Raises:
        OptionError: no images, an untrained network, options of a single criterion, or no candidate reaches the target.
        StructureError: the network cannot be traced.
    """
    options = _completed(options)
    if data is None or not len(data.train):
        raise OptionError("criterion auto measures candidates on training images; pass `data`")
    candidates = CANDIDATES[str(options.unit)]
    most = len(candidates) if options.min_accuracy is None else MOST_TRIALS
    watch = None if report is None else (lambda done, accuracy: report(done, most, accuracy))
    trials = Trials(checkpoint, held_out(data), options, watch, latencies or LatencyTrials())
    dense = trials.measured(checkpoint)
    check_trained(dense)
    if options.min_accuracy is None:
        kept = _best(trials)
    elif dense.top1 >= options.min_accuracy:
        kept = smallest(trials, candidates, str(options.unit), options.min_accuracy)
    else:
        raise OptionError(
            f"`min_accuracy` {options.min_accuracy:g} is above the accuracy before pruning, {dense.top1:.4f} on "
            f"{len(trials.data.test)} held-out training images; use a lower one"
        )
    kept.row["kept"] = True
    found = {"tried": trials.rows, "dense_accuracy": dense.top1, "held_out": len(trials.data.test)}
    entry = kept.checkpoint.history[-1]
    chosen = {
        **history_of(options, method_of(kept.candidate.options(options))),
        **recorded(PruneRun(checkpoint.device.type, processes())),
        "data": data.described,
    }
    entry = replace(entry, options=chosen, result={**entry.result, **found})
    return replace(kept.checkpoint, history=(*kept.checkpoint.history[:-1], entry))


def _best(trials: Trials) -> Trial:
    """The trial with the highest quality; the first of equal ones."""
    best: Trial | None = None
    for candidate in CANDIDATES[str(trials.options.unit)]:
        trial = trials.run(candidate)
        if trial is not None and (best is None or trial.quality > best.quality):
            best = trial
    if best is None:
        assert trials.refusal is not None
        raise trials.refusal
    return best


def _completed(options: StandalonePruning) -> StandalonePruning:
    """The options with unit and repair, checked."""
    for name in _CHOSEN:
        if getattr(options, name) is not None:
            raise OptionError(f"criterion auto chooses `{name}` itself; leave it out, or name a criterion")
    if options.options or options.controls:
        raise OptionError("criterion auto has no criterion options or sanity checks; leave them out")
    aims = [name for name in ("sparsity", *BUDGETS, "min_accuracy") if getattr(options, name) is not None]
    if len(aims) != 1:
        raise OptionError(
            f"use one target: a sparsity, a budget, or `min_accuracy`; got {' and '.join(aims) or 'none'}"
        )
    unit = options.unit or ("weights" if options.sparsity is not None else "nodes")
    if unit not in CANDIDATES:
        raise unknown("unit", unit, CANDIDATES)
    return replace(options, unit=unit, repair=options.repair or "refit")
