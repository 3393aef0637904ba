"""The options of pruning, and what a history records of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from prunectl.criteria.base.criterion import Criterion, criterion_named
from prunectl.criteria.base.lift import for_nodes
from prunectl.criteria.base.schedules import check_sparsity
from prunectl.errors import OptionError
from prunectl.pruning.budget import Budget
from prunectl.pruning.repair.options import check_method
from prunectl.pruning.rules import NodeRules, SelectionRules


@dataclass(frozen=True)
class PruneOptions:
    """What prunes a network and how far; the options that `prune` and pruning during training share.

    `sparsity` is in (0, 1); a threshold replaces it: scores up to it go. None for `schedule`, `steps`, `scope` or
    `unit` takes the criterion's own. `options` are those of the criterion. `keep` names layers that stay as they are:
    shell patterns of module or parameter names.

    Raises:
        OptionError: a value out of range.
    """

    criterion: str = "snipit"
    sparsity: float | None = None
    threshold: float | None = None
    schedule: str | None = None
    steps: int | None = None
    scope: str | None = None
    unit: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    min_nodes: int = 1
    multiple_of: int = 1
    outer_layers: bool = False
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.sparsity is not None:
            check_sparsity(self.sparsity)
        check_least(self, {"steps": 1, "min_nodes": 1, "multiple_of": 1})

    @property
    def method(self) -> Criterion:
        """The criterion, for the unit that was chosen."""
        return for_nodes(criterion_named(self.criterion), self.unit, self.criterion)

    @property
    def rules(self) -> NodeRules:
        """The rules for nodes."""
        return NodeRules(self.min_nodes, self.multiple_of, self.outer_layers)

    def selection(self, method: Criterion) -> SelectionRules:
        """How a unit is selected."""
        scope = self.scope or method.scope
        return SelectionRules(scope, self.rules, None, self.threshold, method.regrow_value, self.keep)

    def flat(self) -> dict[str, Any]:
        """Every field as a JSON value; `keep` only where layers are named."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        kept = {"keep": list(self.keep)} if self.keep else {}
        return {**{key: value for key, value in values.items() if key != "keep"}, "options": dict(self.options), **kept}


@dataclass(frozen=True)
class StandalonePruning(PruneOptions):
    """The options of `prune`: a budget may be the target, and scores come from batches drawn for them.

    `controls` names sanity checks that follow (`sanity_checks.CONTROLS`), `repair` the method of a repair after that.
    """

    budget: Budget | None = None
    batch_size: int = 128
    balanced: bool = True
    amp: bool = False
    controls: tuple[str, ...] = ()
    repair: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repair is not None:
            check_method(self.repair)
        if self.batch_size < 2:
            raise OptionError(
                f"scores need batches of 2 images or more (BatchNorm), got `batch_size` {self.batch_size}"
            )

    def selection(self, method: Criterion) -> SelectionRules:
        """How a unit is selected, with the budget."""
        return replace(super().selection(method), budget=self.budget)

    def history(self, method: Criterion) -> dict[str, Any]:
        """What a history records: the fields that have a value, a budget under its kind, rules only where nodes go."""
        values = self.flat()
        budget = {} if self.budget is None else {self.budget.kind: self.budget.text}
        without = {"budget", *(each.name for each in fields(NodeRules) if method.unit == "weights")}
        given = {key: value for key, value in values.items() if key not in without and value not in (None, ())}
        controls = {"controls": list(self.controls)} if self.controls else {}
        return {**given, **budget, **controls}


def check_least(options: object, least: Mapping[str, int]) -> None:
    """Refuse a value below the least one of its field; None is no value.

    Raises:
        OptionError: names the field.
    """
    for name, low in least.items():
        value = getattr(options, name)
        if value is not None and value < low:
            raise OptionError(f"`{name}` is {low} or more, got {value}")
