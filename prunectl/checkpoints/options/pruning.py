"""The options of `prune` and of pruning during training."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prunectl.checkpoints.options.option import option
from prunectl.checkpoints.options.repair import check_method
from prunectl.checkpoints.options.runtimes import check_runtimes
from prunectl.errors import OptionError
from prunectl.plugins.registry import unknown

CONTROLS = ("shuffle-layerwise", "reinit")
MOST_ROUNDS, MOST_IMAGES = 10_000, 1_000_000
"""Limits for a schedule and for a scoring batch: larger values would fill the memory before any error."""
NORMALIZATIONS = ("none", "mean", "max", "l2", "gaussian", "flops")
BUDGETS = ("params", "flops", "size", "latency")
AUTO = "auto"
"""As a criterion: `prune` compares several. As a multiple: it depends on the width of a group."""
Interval = int | str
"""A number of epochs, or a text such as `100s` for optimiser steps."""
_STEPS = re.compile(r"(\d{1,18})s")


def _earlier(value: Any) -> Callable[[Mapping[str, Any]], Any]:
    """The value in histories that have rules for nodes, but no normalisation of scores."""
    return lambda options: value if "min_nodes" in options and _has_no_rule(options) else None


def _has_no_rule(options: Mapping[str, Any]) -> bool:
    """Whether a history records no normalisation, unless `auto` chose it."""
    return "normalize" not in options and options.get("criterion") != AUTO


@dataclass(frozen=True)
class PruneOptions:
    """Criterion, target and rules of a pruning: the options that `prune` and pruning during training share.

    `sparsity` is in (0, 1); a threshold replaces it: scores up to it are pruned. None for `schedule`, `steps`, `scope`
    or `unit` means the criterion's own. `options` are those of the criterion. `keep` names layers that are not pruned,
    by shell patterns of module or parameter names. At most one of `params`, `flops` and `size` is set: a budget instead
    of a sparsity, as `pruning.budget` reads it. The other fields are those of `pruning.rules.NodeRules`.

    Raises:
        OptionError: a value out of range.
    """

    criterion: str = option("snipit", kind="criterion")
    sparsity: float | None = None
    threshold: float | None = None
    schedule: str | None = option(None, kind="schedule")
    steps: int | None = None
    scope: str | None = None
    unit: str | None = None
    options: Mapping[str, Any] = option(default_factory=dict, flag="-O", owner="criterion")
    min_nodes: int = 1
    multiple_of: int | str = 1
    outer_layers: bool = False
    normalize: str | None = option(None, earlier=_earlier("none"))
    max_pruned: float | None = option(None, earlier=_earlier(1.0))
    keep: tuple[str, ...] = option((), sparse=True)
    params: str | None = option(None, sparse=True)
    flops: str | None = option(None, sparse=True)
    size: str | None = option(None, sparse=True)

    def __post_init__(self) -> None:
        if self.sparsity is not None:
            check_sparsity(self.sparsity)
        if self.normalize not in (None, *NORMALIZATIONS):
            raise unknown("normalization", str(self.normalize), NORMALIZATIONS)
        if self.max_pruned is not None and not 0 < self.max_pruned <= 1:
            raise OptionError(f"`max_pruned` must be a share above 0 and at most 1, got {self.max_pruned:g}")
        check_multiple(self.multiple_of)
        check_least(self, {"steps": 1, "min_nodes": 1})
        check_most(self, {"steps": MOST_ROUNDS})


@dataclass(frozen=True)
class StandalonePruning(PruneOptions):
    """The options of `prune`, which draws batches for the scores.

    `latency` is another budget, measured in a `runtime` of `runtimes.RUNTIMES`; None is eager. `controls` names sanity
    checks of `CONTROLS` to run afterwards, and `repair` the method of a repair after that.
    `min_accuracy`, in (0, 1], is a target for the criterion `auto` alone.
    """

    latency: str | None = None
    runtime: str | None = option(None, sparse=True)
    min_accuracy: float | None = None
    refill: bool = option(
        True, negative="--no-refill", earlier=lambda options: False if any(map(options.get, BUDGETS)) else None
    )
    batch_size: int = 128
    balanced: bool = option(True, negative="--shuffled")
    amp: bool = False
    controls: tuple[str, ...] = option((), choices=CONTROLS, sparse=True)
    repair: str | None = None
    seed: int = option(0, shown=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repair is not None:
            check_method(self.repair)
        check_runtime(self.runtime, self.latency)
        check_min_accuracy(self.min_accuracy, self.criterion)
        if self.batch_size < 2:
            raise OptionError(f"`batch_size` must be 2 or more for scores (BatchNorm), got {self.batch_size}")
        check_most(self, {"batch_size": MOST_IMAGES})


@dataclass(frozen=True)
class GradualPruning(PruneOptions):
    """Pruning during training: the criterion, the target and the schedule.

    The rounds come prune_delay + prune_every, prune_delay + 2 prune_every, and so on after the start. Both are numbers
    of epochs, or of optimiser steps such as `100s`. If both are None, they are the criterion's own, or shorter if the
    training is too short for them. With the authors' 4 and 4 the rounds follow epochs 8, 12, 16. `steps` is s of the
    paper. A scope such as 2:4 is itself the target, instead of a sparsity.
    """

    criterion: str = option("snapit-during", kind="criterion")
    sparsity: float | None = 0.9
    steps: int | None = option(None, key="prune_steps")
    prune_delay: Interval | None = None
    prune_every: Interval | None = None
    rewind_to: int | None = None

    def __post_init__(self) -> None:
        refuse_auto(self.criterion)
        pattern = self.scope if ":" in (self.scope or "") else None
        targets = (self.sparsity, self.threshold, self.params, self.flops, self.size, pattern)
        if sum(target is not None for target in targets) != 1:
            raise OptionError("use one target: a sparsity, a budget, a threshold, or a scope such as 2:4")
        super().__post_init__()
        check_interval("prune_delay", self.prune_delay, 0)
        check_interval("prune_every", self.prune_every, 1)
        check_least(self, {"rewind_to": 0})


@dataclass(frozen=True)
class PruneRun:
    """What a history records of a run of `prune` besides its options."""

    device: str = option(shown=False)
    processes: int = option(1, shown=False, sparse=True)


def check_sparsity(sparsity: float) -> None:
    """Refuse an invalid sparsity.

    Raises:
        OptionError: not in (0, 1).
    """
    if not 0 < sparsity < 1:
        raise OptionError(f"`sparsity` must be between 0 and 1 (0.9 = 90 % pruned), got {sparsity}")


def check_multiple(multiple_of: int | str) -> None:
    """Refuse a value that is neither a number of nodes nor `auto`.

    Raises:
        OptionError: it is neither.
    """
    if multiple_of != AUTO and not (isinstance(multiple_of, int) and multiple_of >= 1):
        raise OptionError(f"`multiple_of` must be a whole number of 1 or more, or {AUTO}, got {multiple_of}")


def check_runtime(runtime: str | None, latency: str | None) -> None:
    """Refuse an unknown runtime, or one without a latency to measure.

    Raises:
        OptionError: there is no latency to measure.
        UnknownName: no such runtime.
    """
    if runtime is not None and latency is None:
        raise OptionError("`runtime` says where a `latency` is measured: pass `latency`, such as 2x, or leave it out")
    check_runtimes([] if runtime is None else [runtime])


def check_min_accuracy(least: float | None, criterion: str) -> None:
    """Refuse a minimum accuracy that is not a share, or a criterion other than `auto`.

    Raises:
        OptionError: not in (0, 1], or the criterion is not `auto`.
    """
    if least is not None and criterion != AUTO:
        raise OptionError(f"`min_accuracy` is a target for `criterion` {AUTO} only; use a sparsity for {criterion}")
    if least is not None and not 0 < least <= 1:
        raise OptionError(f"`min_accuracy` must be a share of images above 0 and at most 1, such as 0.9, got {least:g}")


def refuse_auto(criterion: str | None) -> None:
    """Refuse `auto` for a network that is not trained yet.

    Raises:
        OptionError: the criterion is `auto`.
    """
    if criterion == AUTO:
        raise OptionError(
            f"`criterion` {AUTO} compares candidates on a trained network: train first, then prunectl prune "
            f"--criterion {AUTO}; for pruning during training use snapit-during"
        )


def in_steps(interval: Interval, steps_per_epoch: int) -> int:
    """An interval in optimiser steps."""
    return interval * steps_per_epoch if isinstance(interval, int) else int(interval.removesuffix("s"))


def check_interval(name: str, interval: Interval | None, least: int) -> None:
    """Refuse an interval that is neither epochs nor steps, or is below the least; None is allowed.

    Raises:
        OptionError: names the field.
    """
    if interval is None:
        return
    if isinstance(interval, str) and not _STEPS.fullmatch(interval):
        raise OptionError(f"`{name}` is a number of epochs (4) or of steps (100s), got '{interval}'")
    if in_steps(interval, 1) < least:
        raise OptionError(f"`{name}` must be {least} or more, got {interval}")


def check_least(options: object, least: Mapping[str, int]) -> None:
    """Refuse a value below the least one of its field; None is allowed.

    Raises:
        OptionError: names the field.
    """
    for name, low in least.items():
        value = getattr(options, name)
        if value is not None and value < low:
            raise OptionError(f"`{name}` must be {low} or more, got {value}")


def check_most(options: object, most: Mapping[str, int]) -> None:
    """Refuse a value above the largest one of its field; None is allowed.

    Raises:
        OptionError: names the field.
    """
    for name, high in most.items():
        value = getattr(options, name)
        if value is not None and value > high:
            raise OptionError(f"`{name}` must be at most {high:,}, got {value}")
