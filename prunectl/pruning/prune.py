"""prune: prunes with a criterion, or with the best of several."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import AUTO, StandalonePruning
from prunectl.checkpoints.options.runtimes import EAGER
from prunectl.data.images import ImageData
from prunectl.errors import OptionError
from prunectl.pruning.auto import pruned_by_the_best
from prunectl.pruning.budget import Budget
from prunectl.pruning.by_criterion import KeepScores, Report, pruned_by_criterion
from prunectl.pruning.latency_trials import LatencyTrials, ReportTrial
from prunectl.pruning.repair.repair import Report as RepairReport
from prunectl.pruning.rules import EVERY_NODE, NodeRules


def prune(
    checkpoint: Checkpoint,
    data: ImageData | None,
    *,
    criterion: str = "snipit",
    sparsity: float | None = None,
    budget: Budget | None = None,
    threshold: float | None = None,
    min_accuracy: float | None = None,
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

    The sparsity counts nodes if the criterion prunes nodes, else weights, and is exact to the node or weight (unless
    `rules` ask for multiples). A budget is solved in every round with the ranking of that round; a scope such as 2:4 is
    itself the target. `unit` "nodes" turns a criterion of weights into one of nodes. Every round scores the network
    with its masks applied, on new batches, with all classes `balanced`, and never revives what is pruned, unless the
    criterion regrows. `keep` names layers that are not pruned, as shell patterns of module or parameter names; the
    sparsity is still that of the whole network. `controls` names sanity checks to run afterwards
    (`sanity_checks.CONTROLS`), `repair` the method that then fits the result to the checkpoint (`repair.repair`). The
    criterion "auto" keeps the best of several by accuracy after the repair, at a sparsity or budget, or the smallest
    network with at least `min_accuracy` (`auto.pruned_by_the_best`). The given checkpoint is not changed. `data` may be
    None for a criterion that needs none. `keep_scores` receives the scores of every round.

    Raises:
        OptionError: a target that cannot be reached or is already reached; unknown options.
        UnknownName: no such criterion, schedule, control or layer.
        StructureError: nodes are pruned, but the network cannot be traced.
    """
    asked: dict[str, Any] = {} if budget is None else {budget.kind: budget.text}
    if budget is not None and budget.runtime != EAGER:
        asked["runtime"] = budget.runtime
    chosen = StandalonePruning(
        criterion=criterion,
        sparsity=sparsity,
        threshold=threshold,
        min_accuracy=min_accuracy,
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
    report_repair: RepairReport | None = None,
    report_trial: ReportTrial | None = None,
    keep_scores: KeepScores | None = None,
    reuse: bool = False,
) -> Checkpoint:
    """Prune as `prune` does, with its options in one value.

    `report_repair` is called in a repair that follows, `report_trial` after each network whose latency was measured.
    With `reuse`, the checkpoint's network may be changed.
    """
    if options.criterion != AUTO:
        return pruned_by_criterion(
            checkpoint,
            data,
            options,
            report=report,
            report_repair=report_repair,
            latencies=LatencyTrials(report_trial),
            keep_scores=keep_scores,
            reuse=reuse,
        )
    if keep_scores is not None:
        raise OptionError(
            "criterion auto compares several scores and keeps none; name one criterion to keep its scores"
        )
    return pruned_by_the_best(checkpoint, data, options, report=report, latencies=LatencyTrials(report_trial))
