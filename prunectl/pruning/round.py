"""One round of pruning: score, solve, select, apply."""

import math
from collections.abc import Callable, Sequence

from prunectl.errors import OptionError
from prunectl.plugins.registry import resolve
from prunectl.pruning.units.base import Unit
from prunectl.scores import Scores

Schedule = Callable[[float], tuple[float, ...]]
"""Maps a target sparsity to the sparsity after every round."""
PLACEHOLDER = 0.9
"""Placeholder until the first scores give the real target."""


def schedule_named(name: str, steps: int, *, may_fall: bool) -> Schedule:
    """The schedule of this name with this number of steps, with a check that sparsities rise to the target.

    Sparsities of a criterion that regrows `may_fall` on the way.

    Raises:
        UnknownName: no such schedule.
        OptionError: from the schedule itself, or if it does not return rising sparsities.
    """
    plan = resolve("schedule", name)

    def rounds(target: float) -> tuple[float, ...]:
        found = tuple(plan(target, steps=steps))
        _check_rounds(name, found, target, may_fall=may_fall)
        return found

    return rounds


def _check_rounds(name: str, rounds: Sequence[float], target: float, *, may_fall: bool) -> None:
    """Refuse invalid sparsities of a user's own schedule."""
    fine = bool(rounds) and all(isinstance(each, float | int) and 0 <= each < 1 for each in rounds)
    fine = fine and math.isclose(rounds[-1], target, abs_tol=1e-9)
    if not (fine and (may_fall or list(rounds) == sorted(rounds))):
        found = ", ".join(f"{each:.6g}" if isinstance(each, float | int) else repr(each) for each in rounds) or "none"
        raise OptionError(
            f"schedule {name}: expected sparsities in [0, 1) that rise to the target {target:.6g}, found {found}"
        )


class RoundTargets:
    """The sparsity after every round. With a budget, threshold or pattern, the scores of a round decide it."""

    def __init__(self, schedule: Schedule, sparsity: float | None) -> None:
        self.schedule, self.sparsity = schedule, sparsity
        self.rounds = schedule(PLACEHOLDER if sparsity is None else sparsity)

    def __len__(self) -> int:
        return len(self.rounds)

    def __getitem__(self, i: int) -> float:
        """The sparsity after round `i`; after the last round it stays."""
        return self.rounds[min(i, len(self.rounds) - 1)]

    def solve_(self, unit: Unit, scores: Scores) -> None:
        """Plan all rounds again if these scores decide the sparsity."""
        if self.sparsity is None:
            self.rounds = self.schedule(unit.solve(scores))


def prune_round_(
    unit: Unit, targets: RoundTargets, i: int, score: Callable[[], Scores], *, fewer_than: int | None
) -> None:
    """Run round `i` on a unit.

    If its sparsity is known and keeps no fewer than `fewer_than`, the round does nothing; None always runs it.
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
