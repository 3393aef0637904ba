"""One round of pruning: score, solve, select, apply."""

from collections.abc import Callable

from prunectl.pruning.units.base import Unit
from prunectl.scores import Scores

Schedule = Callable[[float], tuple[float, ...]]
"""Target sparsity -> the sparsity after every round."""
PLACEHOLDER = 0.9
"""Target sparsity until the first scores give the real one."""


class RoundTargets:
    """The sparsity after every round. A budget, threshold or pattern gives it only with the scores of a round."""

    def __init__(self, schedule: Schedule, sparsity: float | None) -> None:
        self.schedule, self.sparsity = schedule, sparsity
        self.rounds = schedule(PLACEHOLDER if sparsity is None else sparsity)

    def __len__(self) -> int:
        return len(self.rounds)

    def __getitem__(self, i: int) -> float:
        """The sparsity after round `i`; after the last round it stays."""
        return self.rounds[min(i, len(self.rounds) - 1)]

    def solve_(self, unit: Unit, scores: Scores) -> None:
        """Plan all rounds anew where these scores decide the sparsity."""
        if self.sparsity is None:
            self.rounds = self.schedule(unit.solve(scores))


def prune_round_(
    unit: Unit, targets: RoundTargets, i: int, score: Callable[[], Scores], *, fewer_than: int | None
) -> None:
    """Run round `i` on a unit.

    A known sparsity that keeps no `fewer_than` so many is passed already, and the round does nothing; None runs it in
    any case.
    """
    known = targets.sparsity is not None
    if known and fewer_than is not None and unit.keep(targets[i]) >= fewer_than:
        return
    scores = score()
    targets.solve_(unit, scores)
    if known or unit.keep(targets[i]) < unit.kept:
        unit.apply_(unit.select(scores, targets[i]), scores.anew)
        if scores.update is not None:
            unit.set_(scores.update(unit.masks))
