"""Tries candidates: prunes a network with each, repairs it, and measures it on held-out training images."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import StandalonePruning
from prunectl.data.images import ImageData
from prunectl.errors import OptionError, OutOfReach
from prunectl.measuring.accuracy import Accuracy, accuracy
from prunectl.pruning.by_criterion import pruned_by_criterion, with_repair
from prunectl.pruning.candidates import Candidate
from prunectl.pruning.latency_trials import LatencyTrials

LEAST_IMAGES = 100
MOST_HELD_OUT = 5_000
"""Most held-out images: an accuracy of 0.9 on this many has a standard error of 0.004, so more would hardly matter."""
Report = Callable[[int, float], None]
"""Called after each trial with (trials so far, its accuracy)."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A pruned and repaired network, and its accuracy on the held-out images `at_once` and `after` the repair."""

    candidate: Candidate
    checkpoint: Checkpoint
    row: dict[str, Any]
    after: Accuracy

    @property
    def quality(self) -> tuple[float, float]:
        """The values that compare trials: accuracy, then the loss, which distinguishes equally accurate networks."""
        return self.after.top1, -self.after.loss if math.isfinite(self.after.loss) else -math.inf


@dataclass(eq=False)
class Trials:
    """Runs candidates on one checkpoint, and records the trials in `rows`.

    `data` are its images, as returned by `held_out`.
    """

    checkpoint: Checkpoint
    data: ImageData
    options: StandalonePruning
    report: Report | None = None
    latencies: LatencyTrials = field(default_factory=LatencyTrials)
    rows: list[dict[str, Any]] = field(default_factory=list)
    refusal: OptionError | None = None
    """Why the first refused candidate was refused."""

    def run(self, candidate: Candidate, **target: str | float | None) -> Trial | None:
        """Prune with a candidate, repair and measure; None if it cannot prune this network to this target."""
        row: dict[str, Any] = {"candidate": str(candidate), **target}
        self.rows.append(row)
        self.latencies.candidate = str(candidate)
        try:
            pruned = pruned_by_criterion(
                self.checkpoint,
                self.data,
                candidate.options(self.options, **target),
                latencies=self.latencies,
            )
        except OutOfReach:  # by no other candidate, either
            raise
        except OptionError as error:
            self.refusal = self.refusal or error
            row["refused"] = str(error)
            return None
        at_once = self.measured(pruned)
        repaired = with_repair(pruned, self.checkpoint, self.data, self.options)
        after = self.measured(repaired)
        row |= {"at_once": at_once.top1, "repaired": after.top1, "kept": False}
        row |= {"loss": after.loss} if math.isfinite(after.loss) else {}
        if self.report is not None:
            self.report(len(self.rows), after.top1)
        return Trial(candidate, repaired, row, after)

    def measured(self, checkpoint: Checkpoint) -> Accuracy:
        """The accuracy of a network on the held-out images."""
        images, classes = self.data.test.to(checkpoint.device), checkpoint.spec.classes
        return accuracy(checkpoint.model, images, checkpoint.preprocessing, classes=classes)


def held_out(data: ImageData) -> ImageData:
    """The images with a fixed fifth of the training images, 5,000 at most, instead of the test images.

    They are among those that `tuning` holds out, so a network trained with it has seen none of them.

    Raises:
        OptionError: there are too few.
    """
    if len(data.train) < LEAST_IMAGES:
        raise OptionError(
            f"criterion auto compares on a fifth of the training images: expected {LEAST_IMAGES} or more, {data.name} "
            f"has {len(data.train)}"
        )
    split = data.tuning()
    return replace(split, test=split.test.take(torch.arange(min(len(split.test), MOST_HELD_OUT))))


def check_trained(dense: Accuracy) -> None:
    """Refuse a network that is no better than the most frequent class, within two standard errors.

    Raises:
        OptionError: it is no better.
    """
    counts = dense.confusion.sum(1)
    images = int(counts.sum())
    chance = int(counts.max()) / images
    if dense.top1 <= chance + 2 * math.sqrt(chance * (1 - chance) / images):
        raise OptionError(
            f"criterion auto needs a trained network, but this one classifies {dense.top1:.1%} of {images} held-out "
            f"training images correctly, the most frequent class {chance:.1%}; train it first, or name a criterion"
        )
