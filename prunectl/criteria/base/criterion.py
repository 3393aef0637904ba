"""Criterion: a composition of a scorer, a schedule and a scope."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal

from torch import Tensor

from prunectl.criteria.base.schedules import DEFAULT_STEPS
from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.plugins.options import shared_options
from prunectl.plugins.registry import resolve, unknown
from prunectl.scores import Scores

Batches = Iterator[tuple[Tensor, Tensor]]
Scorer = Callable[..., Scores]
STARTS = ("erk", "uniform", "")


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """Exploration of which weights to keep, in rounds during most of a training.

    `start` is `erk` or `uniform`: how random pruning before the first step distributes the target over the layers;
    empty for a training that begins with all weights. Rounds come in the first share `until` of the training.
    """

    start: str = "erk"
    until: float = 1.0

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise unknown("start", self.start, STARTS)
        if not 0 < self.until <= 1:
            raise OptionError(f"`until` must be a share of the training above 0 and at most 1, got {self.until:g}")


@dataclass(frozen=True)
class Criterion:
    """A scorer `(model, batches, *, options) -> Scores` and the defaults that make it a named method.

    `next(batches)` yields (inputs (B, C, H, W), labels (B,)) endlessly, new ones in every round; without images, and
    with `needs_data` False, they are blank. In your own scorer, `for inputs, labels in batches` ends after the number
    in its option `batches`, or, without that option, after one pass over the images. `unit` says what is scored:
    `weights`, `nodes` or `both`; a scorer of nodes takes the network's `Structure` as a third argument. `source` is
    paper and equation. With `regrow_value`, pruned weights may return in a later round: with the value from before the
    first round (`original`), with 0 (`zero`) or with a random one (`random`). The scorer takes the `Round` as a third
    argument.
    """

    scorer: Scorer
    schedule: str
    scope: str
    source: str
    unit: str = "weights"
    when: str = "before"
    normalize: str = "none"
    """How scores of nodes are made comparable between groups (`pruning.normalization`)."""
    normalize_budget: str | None = None
    """The same for a budget; None if it is the same."""
    needs_data: bool = True
    needs_training: bool = False
    """Whether it prunes only during training."""
    steps: int = DEFAULT_STEPS
    regrow_value: Literal["original", "zero", "random"] | None = None
    delay: int | str = 4
    every: int | str = 4
    """When rounds come in a training: epochs, or steps such as `100s` (`checkpoints.options.pruning.Interval`)."""
    exploration: Callable[..., Exploration] | None = None
    """Builds the `Exploration` of a training with rounds at one sparsity, from options."""
    regrowth: Scorer | None = None
    """The scorer of a second round after each round: it drops weights in every layer and regrows as many, as 0."""
    rewinds: bool = False
    """Whether a training returns to an earlier epoch after every round (`--rewind-to`)."""
    prepare: Callable[..., None] | None = None
    """Changes a network in place before `prune` scores it, but not its function: `(model, shape, scope, keep)`."""
    callback: Any = None
    """The class of the `Callback` that takes part in the training up to the last round."""

    def check(self) -> None:
        """Refuse a criterion that prunectl cannot call.

        Raises:
            OptionError: the schedule is not a name, or the scorer takes other arguments.
        """
        if not isinstance(self.schedule, str):
            raise OptionError(
                f"`schedule` of a Criterion must be a name, such as one-shot or mine.py:NAME, got {self.schedule!r}"
            )
        _check_scorer(self.scorer, ["model", "data", *self._third()])

    def _third(self) -> list[str]:
        """The third argument of the scorer, if it has one."""
        if self.unit == "weights":
            return [] if self.regrow_value is None else ["round"]
        return ["structure"]

    def options(self, given: dict[str, str], what: str) -> "CriterionOptions":
        """Read `-O key=value` texts as keyword-only arguments of the scorer and of the other functions that take part.

        Raises:
            OptionError: as `keywords.keyword_options`.
        """
        parts = (self.scorer, self.callback, self.exploration, self.regrowth, self.prepare)
        read = iter(shared_options([part for part in parts if part is not None], given, what))
        return CriterionOptions(*({} if part is None else next(read) for part in parts))


@dataclass(frozen=True)
class CriterionOptions:
    """The options of a criterion, by the function that takes them."""

    scorer: dict[str, Any]
    callback: dict[str, Any]
    exploration: dict[str, Any]
    regrowth: dict[str, Any]
    prepare: dict[str, Any]

    @property
    def all(self) -> dict[str, Any]:
        """All options, each once, for the history."""
        return {**self.scorer, **self.callback, **self.exploration, **self.regrowth, **self.prepare}


@dataclass(frozen=True, eq=False)
class Round:
    """State of a criterion that regrows: the masks so far, and the prunable weights before the first round."""

    masks: Masks
    original: dict[str, Tensor]
    progress: float
    """0 in the first round, close to 1 in the last; during training 0 at its start, 1 when rounds end."""


def _check_scorer(scorer: Scorer, arguments: list[str]) -> None:
    """Refuse a scorer that prunectl cannot call.

    Raises:
        OptionError: it has other positional arguments.
    """
    try:
        signature(scorer).bind(*arguments)
    except TypeError as error:
        head = ", ".join(arguments)
        raise OptionError(
            f"a scorer must be callable as scorer({head}, **options), also without images; this one is not: {error}"
        ) from error


def criterion_named(name: str) -> Criterion:
    """The criterion of this name.

    Raises:
        UnknownName: nothing has that name.
        OptionError: it is not a Criterion, or cannot be called as one.
    """
    found = resolve("criterion", name)
    if not isinstance(found, Criterion):
        raise OptionError(f"criterion {name} is a {type(found).__name__}, expected a prunectl.Criterion")
    found.check()
    return found
