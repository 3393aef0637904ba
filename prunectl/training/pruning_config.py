"""How a network is pruned while it is trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prunectl.errors import OptionError
from prunectl.pruning.options import PruneOptions, check_least


@dataclass(frozen=True)
class GradualPruning(PruneOptions):
    """Which criterion prunes how far, and after which epochs.

    The rounds of the schedule follow epochs prune_delay + prune_every, prune_delay + 2 prune_every, and so on, one
    round each, where epoch 1 is the first; with the authors' 4 and 4 these are epochs 8, 12, 16. `steps` is s of the
    paper.
    """

    criterion: str = "snapit-during"
    sparsity: float | None = 0.9
    prune_delay: int = 4
    prune_every: int = 4
    rewind_to: int | None = None

    def __post_init__(self) -> None:
        if (self.sparsity is None) == (self.threshold is None):
            raise OptionError("give one target: a sparsity or a threshold")
        super().__post_init__()
        check_least(self, {"prune_delay": 0, "prune_every": 1, "rewind_to": 0})

    def epochs(self, rounds: int) -> tuple[int, ...]:
        """The epochs after which so many rounds come."""
        return tuple(self.prune_delay + self.prune_every * (i + 1) for i in range(rounds))

    def flat(self) -> dict[str, Any]:
        """Every field as a JSON value, as histories and interrupted trainings hold them: `steps` is `prune_steps`."""
        values = super().flat()
        return {"prune_steps": values.pop("steps"), **values}

    @staticmethod
    def from_flat(values: Mapping[str, Any]) -> "GradualPruning":
        """Read what `flat` returned."""
        rest = {key: value for key, value in values.items() if key not in ("prune_steps", "keep")}
        earlier = {"normalize": "none", "max_pruned": 1.0}  # what rankings were before they had these options
        return GradualPruning(
            **{**earlier, **rest, "steps": values["prune_steps"], "keep": tuple(values.get("keep", ()))}
        )
