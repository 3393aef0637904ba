"""When the rounds of pruning of a training come."""

import math
from typing import Any

from prunectl.checkpoints.options.pruning import Interval, in_steps

_EXPLORING = 3
"""Rounds of a method that drops and grows, in a training that is too short for the first at its own interval."""


def fitting(
    delay: Interval, every: Interval, rounds: int, epochs: int, steps: int = 0, *, by_epoch: bool = False
) -> tuple[Interval, Interval]:
    """A criterion's own `delay` and `every`, or the longest intervals with which its rounds fit a shorter training.

    An epoch is left after the last round. Where not even a round after each epoch fits, rounds come at equal intervals
    of the `steps`, except for a criterion that works `by_epoch`; without enough steps, the criterion's own.
    """
    if isinstance(delay, str) or isinstance(every, str) or delay + every * rounds < epochs:
        return delay, every
    if (equal := (epochs - 1) // (rounds + 1)) > 0:
        return min(delay, equal), min(every, equal)
    if rounds < epochs:
        return 0, 1
    return (delay, every) if by_epoch or steps <= rounds else ("0s", f"{steps // (rounds + 1)}s")


def exploring(when: "RoundTimes", until: float) -> tuple[Interval, Interval] | None:
    """A shorter `delay` and `every` for a method that drops and grows, if no round comes in this share of the steps."""
    every = math.ceil(until * when.steps) // (_EXPLORING + 1)
    return None if when.before(until) or not every else ("0s", f"{every}s")


class RoundTimes:
    """Round 1 comes delay + every after the start, round 2 delay + 2 every, in epochs or in steps of the optimiser.

    The training has `epochs` epochs, and `steps` steps in all.
    """

    def __init__(self, delay: Interval, every: Interval, steps_per_epoch: int, epochs: int) -> None:
        self.steps_per_epoch, self.epochs, self.steps = steps_per_epoch, epochs, steps_per_epoch * epochs
        self.delay, self.every = in_steps(delay, steps_per_epoch), in_steps(every, steps_per_epoch)
        self.by_step = isinstance(delay, str) or isinstance(every, str)
        """Whether rounds may come within an epoch."""

    def first(self, rounds: int) -> tuple[int, ...]:
        """The steps after which the first rounds come."""
        return tuple(self.delay + self.every * (i + 1) for i in range(rounds))

    def before(self, share: float) -> int:
        """How many rounds come before this share of the training is over."""
        last = math.ceil(share * self.steps) - 1
        return max((last - self.delay) // self.every, 0) if self.every else 0

    def named(self, step: int) -> str:
        """What a message calls a step: the epoch that it ends, where rounds follow epochs."""
        return f"step {step}" if self.by_step else f"epoch {step // max(self.steps_per_epoch, 1)}"

    def event(self, step: int) -> dict[str, Any]:
        """What the record of a round says of its time: the epochs that are over, and the step within epochs."""
        epoch = step // max(self.steps_per_epoch, 1)
        return {"epoch": epoch, "step": step} if self.by_step else {"epoch": epoch}

    def is_start(self, event: dict[str, Any]) -> bool:
        """Whether the record of a round is of one before the first step."""
        return not event.get("step", event["epoch"])
