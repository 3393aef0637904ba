"""A criterion is a composition: a scorer, a schedule, a scope."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from prunectl.errors import OptionError
from prunectl.registry import resolve
from prunectl.scores import Scores

Batches = Iterator[tuple[Tensor, Tensor]]
Scorer = Callable[..., Scores]


@dataclass(frozen=True)
class Criterion:
    """A scorer `(model, batches, *, options) -> Scores` and the defaults that make it a named method.

    `batches` yields (inputs (B, C, H, W), labels (B,)) without end, fresh ones in every round. `unit` says what is
    scored: `weights`, `nodes` or `both`; a scorer of nodes takes the network's `Structure` as a third argument.
    `source` is paper and equation.
    """

    scorer: Scorer
    schedule: str
    scope: str
    source: str
    unit: str = "weights"
    when: str = "before"
    needs_data: bool = True


def criterion_named(name: str) -> Criterion:
    """The criterion that `name` stands for.

    Raises:
        UnknownName: nothing has that name.
        OptionError: what has it is no Criterion.
    """
    found = resolve("criterion", name)
    if not isinstance(found, Criterion):
        raise OptionError(f"criterion {name} is a {type(found).__name__}, expected a prunectl.criterion.Criterion")
    return found
