"""Interprets the options of pruning: criterion, rules of selection, budget, and the entry in the history."""

from dataclasses import fields, replace
from typing import Any

from prunectl.checkpoints.options.pruning import AUTO, PruneOptions, StandalonePruning
from prunectl.checkpoints.options.values import recorded
from prunectl.criteria.base.absolute import absolute
from prunectl.criteria.base.criterion import Criterion, criterion_named
from prunectl.criteria.base.lift import for_nodes
from prunectl.pruning.budget import BUDGET_UNITS, Budget
from prunectl.pruning.round import PLACEHOLDER, schedule_named
from prunectl.pruning.rules import NodeRules, SelectionRules


def method_of(options: PruneOptions) -> Criterion:
    """The criterion, for the chosen unit."""
    return for_nodes(criterion_named(options.criterion), options.unit, options.criterion)


def streams(options: StandalonePruning) -> bool:
    """Whether the pruning reads each weight by itself and changes weights only by the masks of its one round."""
    if options.criterion == AUTO:
        return False
    method = method_of(options)
    if method.scorer is not absolute or method.unit != "weights" or method.regrow_value or method.needs_training:
        return False
    prepared = any(method.options(dict(options.options), f"criterion {options.criterion}").prepare.values())
    plan = schedule_named(options.schedule or method.schedule, options.steps or method.steps, may_fall=False)
    return len(plan(options.sparsity or PLACEHOLDER)) == 1 and not (prepared or options.controls or options.repair)


def budget_of(options: PruneOptions) -> Budget | None:
    """The budget; None for another target."""
    texts = {kind: getattr(options, kind, None) for kind in BUDGET_UNITS}
    runtime = getattr(options, "runtime", None)
    return next((Budget.read(kind, text, runtime) for kind, text in texts.items() if text is not None), None)


def selection(options: PruneOptions, method: Criterion) -> SelectionRules:
    """The rules for selecting a unit."""
    rules = _rules(options, method)
    return SelectionRules(
        options.scope or method.scope,
        replace(rules, refill=options.refill) if isinstance(options, StandalonePruning) else rules,
        options.sparsity,
        budget_of(options),
        options.threshold,
        method.regrow_value,
        options.keep,
        method.exploration is not None and method.regrow_value is not None,
    )


def _rules(options: PruneOptions, method: Criterion) -> NodeRules:
    """The rules for nodes, with the criterion's normalisation; for weights, only those that `unit_of` refuses."""
    most, normalize = options.max_pruned, options.normalize
    if method.unit == "weights":
        normalize, most = (None if normalize == "none" else normalize), (None if most == 1 else most)
    else:
        normalize = normalize or _normalization(options, method)
        if most is None and (method.unit == "both" or options.threshold is not None):
            most = 1.0
    return NodeRules(options.min_nodes, options.multiple_of, options.outer_layers, normalize, most)


def _normalization(options: PruneOptions, method: Criterion) -> str:
    """The criterion's default for the kind of target; a threshold applies to raw scores."""
    if options.threshold is not None:
        return "none"
    return (method.normalize_budget if budget_of(options) is not None else None) or method.normalize


def history_of(options: StandalonePruning, method: Criterion) -> dict[str, Any]:
    """The options in a history: fields with a value, and rules for nodes only if nodes are pruned."""
    without = {each.name for each in fields(NodeRules)} if method.unit == "weights" else set()
    refills = budget_of(options) is not None or options.min_accuracy is not None or options.multiple_of == AUTO
    without |= set() if refills else {"refill"}
    return {key: value for key, value in recorded(options, unset=False).items() if key not in without}
