"""The candidates of `auto`: criteria with a scope or a normalisation, chosen by accuracy after a repair."""

from dataclasses import dataclass, replace

from prunectl.checkpoints.options.pruning import StandalonePruning


@dataclass(frozen=True)
class Candidate:
    """A criterion, with the options that differ from its defaults."""

    criterion: str
    unit: str | None = None
    scope: str | None = None
    normalize: str | None = None

    def __str__(self) -> str:
        """The options, as on the command line."""
        named = {"unit": self.unit, "scope": self.scope, "normalize": self.normalize}
        return " ".join([self.criterion, *(f"--{key} {value}" for key, value in named.items() if value is not None)])

    def options(self, asked: StandalonePruning, **target: str | float | None) -> StandalonePruning:
        """The options of a pruning with this candidate, without repair."""
        own = {"criterion": self.criterion, "unit": self.unit, "scope": self.scope, "normalize": self.normalize}
        return replace(asked, **own, repair=None, min_accuracy=None, **target)  # type: ignore[arg-type]


CANDIDATES: dict[str, tuple[Candidate, ...]] = {
    "weights": (
        Candidate("lamp"),
        Candidate("magnitude"),
        Candidate("magnitude", scope="erk"),
        Candidate("snipit"),
        Candidate("wanda"),
    ),
    "nodes": (
        Candidate("depgraph"),
        Candidate("snip", unit="nodes"),
        Candidate("taylor", normalize="mean"),
        Candidate("taylor", normalize="flops"),
        Candidate("snapit", normalize="flops"),
        Candidate("efficient-convnets"),
        Candidate("wanda", unit="nodes"),
    ),
}
"""Candidates by unit, those that win most often first; `tests/benchmarks/auto.py` compares them."""
