"""Computes means over an epoch from log records, which hold the means since the previous record."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ROUNDING = 1e-9


@dataclass(frozen=True)
class EpochMeans:
    """Mean loss and accuracy on the training images of an epoch so far; `images` is their number."""

    epoch: int
    images: int
    loss: float
    accuracy: float

    @staticmethod
    def of(record: Mapping[str, Any], before: "EpochMeans | None" = None) -> "EpochMeans":
        """The means after a log record, from the means before it."""
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
