"""The fewest nodes to remove for a latency: a search that measures as few networks as it can."""

from collections.abc import Callable

from torch import Tensor

from prunectl.measuring.latency import Ratio
from prunectl.pruning.latency_trials import MOST_TRIALS, LatencyTrial, LatencyTrials
from prunectl.pruning.node_costs import BudgetMeter
from prunectl.pruning.ranking import Ranking
from prunectl.pruning.search import fewest

_CLOSE = 0.05
"""A network that fits ends the search if its latency is within this share of the limit: a ratio is no more exact."""
_AIM = 1 - 0.7 * _CLOSE
"""The share of the limit that the search aims at, so that an interval of 5 % around it is within the limit."""
_EDGE = 0.05
"""The least share of the FLOPs between two trials that the next one is away from both."""
_REPEATED = 4
"""After so many trials on one side, the next one is in the middle of the counts."""


class LatencySearch:
    """A search among the networks that are left of one, for the largest within a latency budget.

    `kept` is the share of the dense network's nodes that is left without some of them (bool, (nodes,)).
    """

    def __init__(self, spending: BudgetMeter, kept: Callable[[Tensor], float]) -> None:
        self.spending, self.kept, self.limit = spending, kept, spending.limit

    @property
    def trials(self) -> LatencyTrials:
        """What was measured so far."""
        return self.spending.trials

    def trial(self, gone: Tensor, *, smallest: bool = False) -> LatencyTrial:
        """The network without these nodes (bool, (nodes,)), measured once, as exactly as the limit needs.

        The dense network itself, to which others are compared, is not measured.
        """
        widths = self.spending.widths(gone)
        if widths not in self.trials.found and self.spending.is_dense(gone):
            self.trials.found[widths] = LatencyTrial(0, self.kept(gone), Ratio(1.0, 1.0, 1.0), self.limit)
        elif widths not in self.trials.found:
            ratio = self.spending.latency(gone, limit=self.limit)
            self.trials.add(widths, self.kept(gone), ratio, self.limit, smallest=smallest)
        return self.trials.found[widths]

    def fewest(self, ranking: Ranking, gone: Tensor, least: Tensor) -> int | None:
        """How many nodes of a ranking have to be removed beside those that are `gone`; None if all do not suffice.

        The search ends with a network that fits and is within 5 % of the limit, or after `MOST_TRIALS`. All nodes also
        suffice where the interval of what is left holds the limit. `least` are the nodes that the smallest network is
        without, whose trial is the first one.
        """
        bracket = _Bracket(self, ranking, gone)
        self.trials.most = self.trials.count + MOST_TRIALS
        for ends in (gone, least):
            bracket.add(self.spending.flops(ends), self.trial(ends))
        while bracket.is_open and self.trials.count < self.trials.most:
            count = bracket.next(self.trials.flops)
            found = self.trial(gone | ranking.removed(count))
            bracket.add(bracket.flops(count), found, count)
            if found.fits and found.latency.value >= (1 - _CLOSE) * self.limit:
                break
        if bracket.high <= bracket.most:
            self.trials.flops = bracket.flops(bracket.high)
            return bracket.high
        return bracket.most if self.trial(gone | ranking.removed(bracket.most)).may_fit else None


class _Bracket:
    """The counts of a ranking's nodes between which the answer lies, `low` and `high`, and the trials next to it."""

    def __init__(self, search: LatencySearch, ranking: Ranking, gone: Tensor) -> None:
        self.search, self.ranking, self.gone = search, ranking, gone
        self.most = len(ranking.order)
        self.low, self.high = -1, self.most + 1
        self.slow: tuple[int, float] | None = None
        """FLOPs and latency of the smallest network that is too slow; `fast` are those of the largest that fits."""
        self.fast: tuple[int, float] | None = None
        self.repeated = 0
        """By how many trials in turn `high` came closer, below 0 `low`."""

    @property
    def is_open(self) -> bool:
        """Whether there is a count between both."""
        return self.high - self.low > 1

    def flops(self, count: int) -> int:
        """The FLOPs without the first `count` nodes."""
        return self.search.spending.flops(self.gone | self.ranking.removed(count))

    def add(self, flops: int, trial: LatencyTrial, count: int | None = None) -> None:
        """Note a network that was measured; without `count` it is an end of the search."""
        if trial.fits:
            self.fast, self.high = (flops, trial.latency.value), self.high if count is None else count
        else:
            self.slow, self.low = (flops, trial.latency.value), self.low if count is None else count
        if count is not None:
            self.repeated = max(self.repeated, 0) + 1 if trial.fits else min(self.repeated, 0) - 1

    def next(self, known: int | None) -> int:
        """The count to try: first at the FLOPs that are `known` to be close, then where a line meets the aim."""
        first = known is not None and self.low < 0 and self.high > self.most
        flops = known if first else self._aimed_at() if abs(self.repeated) < _REPEATED else None
        if flops is None:
            self.repeated = 0
            return (self.low + self.high) // 2
        last, aim = min(self.high - 1, self.most), flops
        count = fewest(last, lambda n: self.flops(n) <= aim)
        return last if count is None else max(count, self.low + 1)

    def _aimed_at(self) -> float | None:
        """FLOPs on the line through the trials next to the limit, at what the search aims at.

        Where trials were repeated on one side, the other end counts half as much after each (the Illinois rule).
        """
        if self.slow is None or self.fast is None or self.slow[1] <= self.fast[1] or self.slow[0] <= self.fast[0]:
            return None
        aim = _AIM * self.search.limit
        above = (self.slow[1] - aim) * 0.5 ** max(self.repeated - 1, 0)
        below = (aim - self.fast[1]) * 0.5 ** max(-self.repeated - 1, 0)
        share = min(max(below / (above + below), _EDGE), 1 - _EDGE) if above > 0 < below else 0.5
        return self.fast[0] + share * (self.slow[0] - self.fast[0])
