"""Meter: mean loss and accuracy over the images since the last log record, summed on the device."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Meter:
    """Sums over the images `seen`: the loss, float32 (), and the correct predictions, int64 ()."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.seen = 0

    def add_(self, loss: Tensor, correct: Tensor, images: int) -> None:
        """Add a batch: its mean loss (), its number of correct predictions (), and its number of images."""
        self.loss += loss.detach() * images
        self.correct += correct
        self.seen += images

    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy; waits for a gpu."""
        return float(self.loss) / self.seen, int(self.correct) / self.seen

    def clear_(self) -> None:
        """Set all sums to zero."""
        self.loss.zero_(), self.correct.zero_()
        self.seen = 0

    def state_dict(self) -> dict[str, Any]:
        """The sums and the number of images."""
        return {"loss": self.loss, "correct": self.correct, "seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`, on this device."""
        self.loss.copy_(state["loss"]), self.correct.copy_(state["correct"])
        self.seen = state["seen"]
