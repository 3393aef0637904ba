"""The options of pruning: of `prune`, and of pruning during training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prunectl.checkpoints.options.option import option
from prunectl.checkpoints.options.repair import check_method
from prunectl.errors import OptionError
from prunectl.plugins.registry import unknown

CONTROLS = ("shuffle-layerwise", "reinit")
MOST_ROUNDS, MOST_IMAGES = 10_000, 1_000_000
"""Of a schedule, and of a batch that scores are computed on: more would fill the memory before anything is said."""
NORMALIZATIONS = ("none", "mean", "max", "l2", "gaussian", "flops")
BUDGETS = ("params", "flops", "size", "latency")
DEFAULT_SPARSITY = 0.9
AUTO = "auto"
"""In the place of a criterion: `prune` compares several."""


def _earlier(value: Any) -> Callable[[Mapping[str, Any]], Any]:
    """The value in histories that have rules for nodes, but no normalisation of scores."""
    return lambda options: value if "min_nodes" in options and _has_no_rule(options) else None


def _has_no_rule(options: Mapping[str, Any]) -> bool:
    """Whether a history says nothing of normalisation, and that is no choice of `auto`."""
    return "normalize" not in options and options.get("criterion") != AUTO


@dataclass(frozen=True)
class PruneOptions:
    """What prunes a network and how far; the options that `prune` and pruning during training share.

    `sparsity` is in (0, 1); a threshold replaces it: scores up to it go. None for `schedule`, `steps`, `scope` or
    `unit` takes the criterion's own. `options` are those of the criterion. `keep` names layers that stay as they are:
    shell patterns of module or parameter names. The others are those of `pruning.rules.NodeRules`.

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
    multiple_of: int = 1
    outer_layers: bool = False
    normalize: str | None = option(None, earlier=_earlier("none"))
    max_pruned: float | None = option(None, earlier=_earlier(1.0))
    keep: tuple[str, ...] = option((), sparse=True)

    def __post_init__(self) -> None:
        if self.sparsity is not None:
            check_sparsity(self.sparsity)
        if self.normalize not in (None, *NORMALIZATIONS):
            raise unknown("normalization", str(self.normalize), NORMALIZATIONS)
        if self.max_pruned is not None and not 0 < self.max_pruned <= 1:
            raise OptionError(f"`max_pruned` is a share above 0 and at most 1, got {self.max_pruned:g}")
        check_least(self, {"steps": 1, "min_nodes": 1, "multiple_of": 1})
        check_most(self, {"steps": MOST_ROUNDS})


@dataclass(frozen=True)
class StandalonePruning(PruneOptions):
    """The options of `prune`: a budget may be the target, and scores come from batches drawn for them.

    At most one of `params`, `flops`, `size` and `latency` has a value: a budget as `pruning.budget` reads it.
    `controls` names sanity checks that follow, of `CONTROLS`, `repair` the method of a repair after that.
    `min_accuracy`, in (0, 1], is a target for the criterion `auto` alone.
    """

    params: str | None = None
    flops: str | None = None
    size: str | None = None
    latency: str | None = None
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
        check_min_accuracy(self.min_accuracy, self.criterion)
        if self.batch_size < 2:
            raise OptionError(
                f"scores need batches of 2 images or more (BatchNorm), got `batch_size` {self.batch_size}"
            )
        check_most(self, {"batch_size": MOST_IMAGES})


@dataclass(frozen=True)
class GradualPruning(PruneOptions):
    """Which criterion prunes how far during training, and after which epochs.

    The rounds of the schedule follow epochs prune_delay + prune_every, prune_delay + 2 prune_every, and so on, one
    round each, where epoch 1 is the first; with the authors' 4 and 4 these are epochs 8, 12, 16. `steps` is s of the
    paper.
    """

    criterion: str = option("snapit-during", kind="criterion")
    sparsity: float | None = DEFAULT_SPARSITY
    steps: int | None = option(None, key="prune_steps")
    prune_delay: int = 4
    prune_every: int = 4
    rewind_to: int | None = None

    def __post_init__(self) -> None:
        refuse_auto(self.criterion)
        if (self.sparsity is None) == (self.threshold is None):
            raise OptionError("give one target: a sparsity or a threshold")
        super().__post_init__()
        check_least(self, {"prune_delay": 0, "prune_every": 1, "rewind_to": 0})

    def epochs(self, rounds: int) -> tuple[int, ...]:
        """The epochs after which so many rounds come."""
        return tuple(self.prune_delay + self.prune_every * (i + 1) for i in range(rounds))


@dataclass(frozen=True)
class PruneRun:
    """What a history says of a run of `prune` beside its options."""

    device: str = option(shown=False)
    processes: int = option(1, shown=False, sparse=True)


def check_sparsity(sparsity: float) -> None:
    """Refuse what is no sparsity to prune to.

    Raises:
        OptionError: not in (0, 1).
    """
    if not 0 < sparsity < 1:
        raise OptionError(f"a sparsity to prune to lies between 0 and 1 (0.9 = 90 % pruned), got {sparsity}")


def check_min_accuracy(least: float | None, criterion: str) -> None:
    """Refuse a least accuracy that is no share, or that no measurement decides.

    Raises:
        OptionError: not in (0, 1], or the criterion is not `auto`.
    """
    if least is not None and criterion != AUTO:
        raise OptionError(
            f"`min_accuracy` is a target for `criterion` {AUTO}, which measures; give {criterion} a sparsity"
        )
    if least is not None and not 0 < least <= 1:
        raise OptionError(f"`min_accuracy` is a share of images above 0 and at most 1, such as 0.9, got {least:g}")


def refuse_auto(criterion: str | None) -> None:
    """Refuse `auto` where a network is yet to be trained.

    Raises:
        OptionError: it is that.
    """
    if criterion == AUTO:
        raise OptionError(
            f"`criterion` {AUTO} compares what is left of a trained network: train first, then prunectl prune "
            f"--criterion {AUTO}; for pruning during training take snapit-during"
        )


def check_least(options: object, least: Mapping[str, int]) -> None:
    """Refuse a value below the least one of its field; None is no value.

    Raises:
        OptionError: names the field.
    """
    for name, low in least.items():
        value = getattr(options, name)
        if value is not None and value < low:
            raise OptionError(f"`{name}` is {low} or more, got {value}")


def check_most(options: object, most: Mapping[str, int]) -> None:
    """Refuse a value above the largest one of its field; None is no value.

    Raises:
        OptionError: names the field.
    """
    for name, high in most.items():
        value = getattr(options, name)
        if value is not None and value > high:
            raise OptionError(f"`{name}` is at most {high:,}, got {value}")
