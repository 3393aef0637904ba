"""Means over an epoch, from the log records of a training, each of which has the means since the one before."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ROUNDING = 1e-9


@dataclass(frozen=True)
class EpochMeans:
    """Loss and accuracy on the training images of an epoch, as far as it came; `images` is their number."""

    epoch: int
    images: int
    loss: float
    accuracy: float

    @staticmethod
    def of(record: Mapping[str, Any], before: "EpochMeans | None" = None) -> "EpochMeans":
        """The means after a log record, from those before it."""
        epoch, images = math.ceil(record["epoch"] - _ROUNDING), record["images"]
        own = EpochMeans(epoch, images, record["loss"], record["accuracy"])
        if before is None or before.epoch != epoch:
            return own
        share = images / (before.images + images)
        return EpochMeans(
            epoch,
            before.images + images,
            before.loss + share * (own.loss - before.loss),
            before.accuracy + share * (own.accuracy - before.accuracy),
        )
