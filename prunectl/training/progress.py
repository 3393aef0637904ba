"""Progress: the counters of a training, and its log records."""

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from prunectl.errors import DivergedError
from prunectl.measuring.memory import memory_in_use
from prunectl.training.meters import Meter
from prunectl.training.state import under, within

_COUNTERS = ("step", "images", "spent", "seconds")


class Progress:
    """Steps, images, FLOPs (`spent`) and seconds of a training, and the means since its last log record."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.meter = Meter(device)
        self.step = self.images = self.spent = 0
        self.seconds = 0.0
        self.last: dict[str, Any] = {}
        self._started = time.perf_counter()

    def start_(self) -> None:
        """Start the clock, or continue from the seconds so far."""
        self._started = time.perf_counter() - self.seconds

    def tick_(self) -> float:
        """Read the clock."""
        self.seconds = time.perf_counter() - self._started
        return self.seconds

    def add_(self, loss: Tensor, correct: Tensor, images: int, flops: int) -> None:
        """Count a step: its mean loss (), correct predictions (), images and FLOPs."""
        self.meter.add_(loss, correct, images)
        self.images += images
        self.spent += flops
        self.step += 1

    def latest(self) -> tuple[float, float]:
        """Mean loss and accuracy on the training images since the last record, else those of that record."""
        if self.meter.seen:
            return self.meter.means()
        return self.last["loss"], self.last["accuracy"]

    def record_(self, epoch: float, network: Mapping[str, float]) -> dict[str, Any]:
        """A log record with the values of the network; the next record's means start here.

        Raises:
            DivergedError: the loss is not finite.
        """
        loss, right = self.meter.means()
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} after step {self.step}: training diverged; lower `lr`")
        self.last = {
            "step": self.step,
            "images": self.meter.seen,
            "epoch": epoch,
            "loss": loss,
            "accuracy": right,
            **network,
            "training_flops": self.spent,
            "seconds": self.tick_(),
            "memory_bytes": memory_in_use(self.device),
        }
        self.meter.clear_()
        return self.last

    def state_dict(self) -> dict[str, Any]:
        """The meter's tensors and count, and the counters."""
        sums = self.meter.state_dict()
        seen = sums.pop("seen")
        return {**under("sums", sums), "seen": seen, **{name: getattr(self, name) for name in _COUNTERS}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self.meter.load_state_dict({**within("sums", state), "seen": state["seen"]})
        for name in _COUNTERS:
            setattr(self, name, state[name])
