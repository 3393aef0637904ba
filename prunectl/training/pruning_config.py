"""During: how a network is pruned while it is trained."""

from dataclasses import dataclass, field

from prunectl.criteria.base.schedules import check_sparsity
from prunectl.errors import OptionError


@dataclass(frozen=True)
class GradualPruning:
    """Which criterion prunes how far, and after which epochs.

    The rounds of the schedule come after epochs prune_delay + prune_every, prune_delay + 2 prune_every, and so on, one
    round each, where epoch 1 is the first; with the authors' 4 and 4 that is after epochs 8, 12, 16. `prune_steps` is s
    of the paper; `options` are those of the criterion.
    """

    criterion: str = "snapit-during"
    sparsity: float | None = 0.9
    prune_delay: int = 4
    prune_every: int = 4
    prune_steps: int | None = None
    schedule: str | None = None
    scope: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    min_nodes: int = 1
    multiple_of: int = 1
    outer_layers: bool = False
    threshold: float | None = None
    rewind_to: int | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        if (self.sparsity is None) == (self.threshold is None):
            raise OptionError("give one target: a sparsity or a threshold")
        if self.sparsity is not None:
            check_sparsity(self.sparsity)
        for name, least in {"prune_delay": 0, "prune_every": 1, "prune_steps": 1, "rewind_to": 0}.items():
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise OptionError(f"{name} is {least} or more, got {getattr(self, name)}")

    def epochs(self, rounds: int) -> tuple[int, ...]:
        """After which epochs so many rounds come."""
        return tuple(self.prune_delay + self.prune_every * (i + 1) for i in range(rounds))
