"""Computes when the rounds of pruning come in a training."""

import math
from typing import Any

from prunectl.checkpoints.options.pruning import Interval, in_steps

_EXPLORING = 3
"""Rounds of a drop-and-grow method in a training that is too short for a first round at its own interval."""


def fitting(
    delay: Interval, every: Interval, rounds: int, epochs: int, steps: int = 0, *, by_epoch: bool = False
) -> tuple[Interval, Interval]:
    """A criterion's own `delay` and `every`, or the longest intervals with which its rounds fit a shorter training.

    One epoch is left after the last round. If not even one round after each epoch fits, rounds come at equal intervals
    of the `steps`; a criterion that works `by_epoch`, or too few steps, keeps the criterion's own.
    """
    if isinstance(delay, str) or isinstance(every, str) or delay + every * rounds < epochs:
        return delay, every
    if (equal := (epochs - 1) // (rounds + 1)) > 0:
        return min(delay, equal), min(every, equal)
    if rounds < epochs:
        return 0, 1
    return (delay, every) if by_epoch or steps <= rounds else ("0s", f"{steps // (rounds + 1)}s")


def exploring(when: "RoundTimes", until: float) -> tuple[Interval, Interval] | None:
    """A shorter `delay` and `every` for a drop-and-grow method, if no round falls in this share of the steps."""
    every = math.ceil(until * when.steps) // (_EXPLORING + 1)
    return None if when.before(until) or not every else ("0s", f"{every}s")


class RoundTimes:
    """The times of rounds: delay + every after the start, delay + 2 every, and so on, in epochs or optimiser steps.

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
        """The number of rounds before this share of the training is over."""
        last = math.ceil(share * self.steps) - 1
        return max((last - self.delay) // self.every, 0) if self.every else 0

    def named(self, step: int) -> str:
        """How messages name a step: by the epoch that it ends, if rounds follow epochs."""
        return f"step {step}" if self.by_step else f"epoch {step // max(self.steps_per_epoch, 1)}"

    def event(self, step: int) -> dict[str, Any]:
        """The time in the record of a round: the epochs that are over, and the step if rounds come within epochs."""
        epoch = step // max(self.steps_per_epoch, 1)
        return {"epoch": epoch, "step": step} if self.by_step else {"epoch": epoch}

    def is_start(self, event: dict[str, Any]) -> bool:
        """Whether the record is of a round before the first step."""
        return not event.get("step", event["epoch"])
