"""The fewest nodes to remove for a latency: a search that measures as few networks as it can."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from prunectl.measuring.latency import Ratio
from prunectl.pruning.node_costs import BudgetMeter
from prunectl.pruning.ranking import Ranking
from prunectl.pruning.search import fewest

MOST_TRIALS = 8
"""Networks that are measured for one ranking."""
_CLOSE = 0.05
"""A network that fits ends the search if its latency is within this share of the limit: a ratio is no more exact."""
_AIM = 1 - 0.7 * _CLOSE
"""The share of the limit that the search aims at, so that an interval of 5 % around it is within the limit."""
_EDGE = 0.05
"""The least share of the FLOPs between two trials that the next one is away from both."""
_REPEATED = 4
"""After so many trials on one side, the next one is in the middle of the counts."""


@dataclass(frozen=True)
class LatencyTrial:
    """A network that was measured: the share of the dense network's nodes that it keeps, its latency relative to it.

    `number` counts from 1; `smallest` marks the smallest network that the rules allow. `candidate` is that of the
    criterion `auto`.
    """

    number: int
    kept: float
    latency: Ratio
    limit: float
    smallest: bool = False
    candidate: str = ""

    @property
    def fits(self) -> bool:
        """Whether the whole interval is within the limit."""
        return self.latency.high <= self.limit

    @property
    def may_fit(self) -> bool:
        """Whether some of the interval is within the limit."""
        return self.latency.low <= self.limit


ReportTrial = Callable[[LatencyTrial], None]
"""Called after each trial."""


class LatencySearch:
    """The trials on one network under a latency budget, from round to round; each network is measured once.

    `kept` is the share of the dense network's nodes that is left without some of them (bool, (nodes,)).
    """

    def __init__(self, spending: BudgetMeter, kept: Callable[[Tensor], float]) -> None:
        self.spending, self.kept, self.limit = spending, kept, spending.limit
        self.report: ReportTrial | None = None
        self.trials = 0
        self._known: dict[bytes, LatencyTrial] = {}
        self._points: list[tuple[int, LatencyTrial]] = []
        """FLOPs and trials, without those that a later one contradicts."""

    def trial(self, gone: Tensor, *, smallest: bool = False) -> LatencyTrial:
        """The network without these nodes (bool, (nodes,)), measured as exactly as the limit needs.

        The dense network itself, to which others are compared, is not measured.
        """
        widths = self.spending.widths(gone)
        if widths not in self._known:
            dense = self.spending.is_dense(gone)
            ratio = Ratio(1.0, 1.0, 1.0) if dense else self.spending.latency(gone, limit=self.limit)
            self.trials += not dense
            found = LatencyTrial(self.trials, self.kept(gone), ratio, self.limit, smallest)
            self._known[widths] = found
            self._note(self.spending.flops(gone), found)
            if self.report is not None and not dense:
                self.report(found)
        return self._known[widths]

    def fewest(self, ranking: Ranking, gone: Tensor) -> int | None:
        """How many nodes of a ranking have to be removed beside those that are `gone`; None if all do not suffice.

        The search ends with a network that fits and is within 5 % of the limit, or after `MOST_TRIALS`. All nodes also
        suffice where the interval of what is left holds the limit.
        """
        most, begun = len(ranking.order), self.trials
        low, high = -1, most + 1  # the counts between which the answer lies
        repeated = 0  # by how many trials in turn only `high` came closer, or (below 0) only `low`
        self.trial(gone)
        while high - low > 1 and self.trials < begun + MOST_TRIALS:
            aimed = abs(repeated) < _REPEATED
            count = self._aimed_at(ranking, gone, (low, high), repeated) if aimed else (low + high) // 2
            found = self.trial(gone | ranking.removed(count))
            low, high = (low, count) if found.fits else (count, high)
            if found.fits and found.latency.value >= (1 - _CLOSE) * self.limit:
                break
            repeated = (max(repeated, 0) + 1 if found.fits else min(repeated, 0) - 1) if aimed else 0
        if high <= most:
            return high
        return most if self.trial(gone | ranking.removed(most)).may_fit else None

    def _aimed_at(self, ranking: Ranking, gone: Tensor, between: tuple[int, int], repeated: int) -> int:
        """A count between two others, by a line through the latencies of the trials that are next to the limit.

        Where trials were `repeated` on one side, the other end counts half as much after each (the Illinois rule).
        """
        low, high = between
        slow = min((p for p in self._points if not p[1].fits), key=lambda p: p[0], default=None)
        fast = max((p for p in self._points if p[1].fits), key=lambda p: p[0], default=None)
        if slow is None or fast is None or slow[1].latency.value <= fast[1].latency.value:
            return (low + high) // 2
        aim = _AIM * self.limit
        above = (slow[1].latency.value - aim) * 0.5 ** max(repeated - 1, 0)
        below = (aim - fast[1].latency.value) * 0.5 ** max(-repeated - 1, 0)
        share = min(max(below / (above + below), _EDGE), 1 - _EDGE) if above > 0 < below else 0.5
        flops = fast[0] + share * (slow[0] - fast[0])
        last = min(high - 1, len(ranking.order))
        count = fewest(last, lambda n: self.spending.flops(gone | ranking.removed(n)) <= flops)
        return last if count is None else max(count, low + 1)

    def _note(self, flops: int, trial: LatencyTrial) -> None:
        """Keep a trial for later guesses, in place of those that it contradicts."""

        def agrees(other: tuple[int, LatencyTrial]) -> bool:
            return other[1].fits == trial.fits or (other[0] < flops if other[1].fits else other[0] > flops)

        self._points = [*filter(agrees, self._points), (flops, trial)]
