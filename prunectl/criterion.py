"""A criterion is a composition: a scorer, a schedule, a scope."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from prunectl.scores import Scores

Batches = Iterator[tuple[Tensor, Tensor]]
Scorer = Callable[..., Scores]


@dataclass(frozen=True)
class Criterion:
    """A scorer `(model, batches, *, options) -> Scores` and the defaults that make it a named method.

    `batches` yields (inputs (B, C, H, W), labels (B,)) without end, fresh ones in every round. `source` is paper and
    equation.
    """

    scorer: Scorer
    schedule: str
    scope: str
    source: str
    unit: str = "weights"
    when: str = "before"
    needs_data: bool = True
