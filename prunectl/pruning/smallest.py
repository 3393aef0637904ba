"""Finds the smallest network that still reaches an accuracy, by bisection over the remaining share."""

import copy
import math
from collections.abc import Callable, Sequence

from prunectl.checkpoints.original_shapes import retraceable
from prunectl.errors import OptionError
from prunectl.pruning.candidates import Candidate
from prunectl.pruning.options import method_of, selection
from prunectl.pruning.trials import Trial, Trials
from prunectl.pruning.units.table import unit_of
from prunectl.pruning.units.with_nodes import WithNodes

STEPS = 8
"""Level k leaves the share 2^(-k / 8): each level leaves 8 % less than the previous one."""
LAST = 56
"""The level that leaves a share of 1/128."""
COARSE = 8
MOST_TRIALS = 10
_FINE = 3
"""Trials at the end of the search, between two coarse levels."""
Try = Callable[[Candidate, int], Trial | None]


def share(level: int) -> float:
    """The share left at a level."""
    return 2 ** (-level / STEPS)


def target(unit: str, level: int) -> dict[str, str | float]:
    """The target of a pruning at a level: a sparsity of weights, or a budget of parameters for nodes."""
    return {"sparsity": round(1 - share(level), 4)} if unit == "weights" else {"params": f"{share(level):.4g}x"}


def smallest(trials: Trials, candidates: Sequence[Candidate], unit: str, least: float) -> Trial:
    """The network at the highest level found at which a candidate still reaches the accuracy.

    Raises:
        OptionError: none does.
    """
    first = level_of(trials, candidates[0], unit) + 1
    search = Search(lambda candidate, level: trials.run(candidate, **target(unit, level)), least, first)
    found = search.run(candidates)
    if found is not None:
        return found
    if trials.refusal is not None and all("refused" in row for row in trials.rows):
        raise trials.refusal
    best = max(row.get("repaired", 0.0) for row in trials.rows)
    raise OptionError(
        f"no smaller network reaches `min_accuracy` {least:g} on {len(trials.data.test)} held-out training images; "
        f"the best of {len(trials.rows)} reaches {best:.4f}; use a lower one"
    )


class Search:
    """Bisection over levels between one that reaches the accuracy and one that does not.

    The first candidate is bisected by `COARSE` levels. The first few are compared at the level where it fails, and the
    best of them continues: to higher levels if it reaches the accuracy, then by single levels. At most `MOST_TRIALS`
    trials are made, so the last levels may stay untried if a later candidate is far ahead.
    """

    def __init__(self, trial: Try, least: float, first: int) -> None:
        self.trial, self.least = trial, least
        self.low, self.high = first - 1, LAST + 1
        self.kept: Trial | None = None
        """The trial at `low`; None if that is the given network."""
        self.missed: Trial | None = None
        """The trial at `high`, or None."""
        self.trials = 0

    def run(self, candidates: Sequence[Candidate]) -> Trial | None:
        """The trial at the highest level found; None if only the given network reaches the accuracy."""
        lead = candidates[0]
        self._bisect(lead, COARSE)
        if self.high <= LAST:
            lead = self._best_at_high(candidates)
        self._bisect(lead, 1)
        return self.kept

    def _best_at_high(self, candidates: Sequence[Candidate]) -> Candidate:
        level, tried = self.high, [] if self.missed is None else [self.missed]
        for candidate in candidates[1 : MOST_TRIALS - self.trials - _FINE]:  # one trial is for a higher level
            tried += [found] if (found := self._tried(candidate, level)) is not None else []
        best = max(tried, key=lambda trial: trial.quality, default=None)
        if best is None or best.after.top1 < self.least:
            return candidates[0] if best is None else best.candidate
        self._passed(level, best)
        self.high = min(level + COARSE, LAST + 1)
        while self.high <= LAST and self.trials < MOST_TRIALS - _FINE and self._step(best.candidate, self.high):
            self.high = min(self.low + COARSE, LAST + 1)
        return best.candidate

    def _bisect(self, candidate: Candidate, step: int) -> None:
        while self.high - self.low > step and self.trials < MOST_TRIALS:
            half = (self.high - self.low) // 2
            self._step(candidate, self.low + max(step, half - half % step))

    def _step(self, candidate: Candidate, level: int) -> bool:
        """Try a level, which becomes the lower or the upper end."""
        found = self._tried(candidate, level)
        if found is not None and found.after.top1 >= self.least:
            self._passed(level, found)
            return True
        self.high, self.missed = level, found
        return False

    def _passed(self, level: int, trial: Trial) -> None:
        self.low, self.kept = level, trial

    def _tried(self, candidate: Candidate, level: int) -> Trial | None:
        self.trials += 1
        return self.trial(candidate, level)


def level_of(trials: Trials, candidate: Candidate, unit: str) -> int:
    """The level of the given network: 0 if it is dense."""
    checkpoint = trials.checkpoint
    if not checkpoint.masks and not checkpoint.edits:
        return 0
    options = candidate.options(trials.options, **target(unit, 1))
    method, whole = method_of(options), retraceable(checkpoint)
    found = unit_of(method, whole, copy.deepcopy(whole.model), selection(options, method))
    left = found.kept / found.total
    if isinstance(found, WithNodes) and found.spending is not None:
        left = found.spending.without(found.gone) / found.spending.whole
    return math.floor(-STEPS * math.log2(left))
