"""Networks whose latency was measured under a budget, and what their measurements share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from prunectl.measuring.latency import Ratio

MOST_TRIALS = 8
"""Networks that are measured for one ranking, beside the smallest one."""


@dataclass(frozen=True)
class LatencyTrial:
    """A network that was measured: the share of the dense network's nodes that it keeps, its latency relative to it.

    `number` counts from 1, and is at most `most` for this ranking; `smallest` marks the smallest network that the rules
    allow. `candidate` is that of the criterion `auto`.
    """

    number: int
    kept: float
    latency: Ratio
    limit: float
    smallest: bool = False
    candidate: str = ""
    most: int = 1 + MOST_TRIALS

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


@dataclass(eq=False)
class LatencyTrials:
    """The trials on one network, of all rounds and all candidates of the criterion `auto`; `report` hears of each.

    `found` has them by the widths of the network, and `flops` are those of the network that the last search found.
    `most` is the `count` at which the search on the current ranking ends.
    """

    report: ReportTrial | None = None
    candidate: str = ""
    count: int = 0
    most: int = 1 + MOST_TRIALS
    found: dict[bytes, LatencyTrial] = field(default_factory=dict)
    flops: int | None = None
    dense_run: Callable[[], object] | None = None
    """A call that runs the dense network on an image."""
    fitting: dict[bytes, Callable[[], object]] = field(default_factory=dict)
    """The same for the last network that was measured within the budget, by its widths."""

    def add(self, widths: bytes, kept: float, ratio: Ratio, limit: float, *, smallest: bool) -> None:
        """Number, note and report a network that was measured."""
        self.count += 1
        most = max(self.most, self.count)
        self.found[widths] = LatencyTrial(self.count, kept, ratio, limit, smallest, self.candidate, most)
        if self.report is not None:
            self.report(self.found[widths])
