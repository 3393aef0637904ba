"""A criterion is a composition: a scorer, a schedule, a scope."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from prunectl.criteria.base.schedules import DEFAULT_STEPS
from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.plugins.options import shared_options
from prunectl.plugins.registry import resolve
from prunectl.scores import Scores

Batches = Iterator[tuple[Tensor, Tensor]]
Scorer = Callable[..., Scores]


@dataclass(frozen=True)
class Criterion:
    """A scorer `(model, batches, *, options) -> Scores` and the defaults that make it a named method.

    `next(batches)` yields (inputs (B, C, H, W), labels (B,)) without end, fresh ones in every round; without images and
    with `needs_data` False they are blank. In a scorer of your own, `for inputs, labels in batches` ends after as many
    as its option `batches` says, without one after one pass over the images. `unit` says what is scored: `weights`,
    `nodes` or `both`; a scorer of nodes takes the network's `Structure` as a third argument. `source` is paper and
    equation.

    With `regrow_value`, pruned weights may return in a later round: with the value from before the first round
    (`original`), with 0 (`zero`) or with a random one (`random`). The scorer takes the `Round` as a third argument.
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
    """The same where the target is a budget, None where it is no other."""
    needs_data: bool = True
    needs_training: bool = False
    """Whether it prunes only while a network trains."""
    steps: int = DEFAULT_STEPS
    regrow_value: Literal["original", "zero", "random"] | None = None
    init_criterion: str | None = None
    """The criterion that prunes to the target before the first epoch of a training that then drops and grows."""
    stop_after: float = 1.0
    """The share of the training in which it drops and grows."""
    rewinds: bool = False
    """Whether a training goes back to an earlier epoch after every round (`--rewind-to`)."""
    callback: Any = None
    """The class of the `Callback` that takes part in the training up to the last round."""

    def options(self, given: dict[str, str], what: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read `-O key=value` texts as the keyword-only arguments of the scorer, and of the callback.

        Raises:
            OptionError: as `keywords.keyword_options`.
        """
        scorer, *callback = shared_options([p for p in (self.scorer, self.callback) if p is not None], given, what)
        return scorer, callback[0] if callback else {}


@dataclass(frozen=True, eq=False)
class Round:
    """Where a criterion that regrows stands: the masks so far, and the prunable weights before the first round."""

    masks: Masks
    original: dict[str, Tensor]
    progress: float
    """0 in the first round, close to 1 in the last; during training 0 at its start, 1 where rounds end."""


def criterion_named(name: str) -> Criterion:
    """The criterion that `name` stands for.

    Raises:
        UnknownName: nothing has that name.
        OptionError: what has it is no Criterion.
    """
    found = resolve("criterion", name)
    if not isinstance(found, Criterion):
        raise OptionError(f"criterion {name} is a {type(found).__name__}, expected a prunectl.Criterion")
    return found
