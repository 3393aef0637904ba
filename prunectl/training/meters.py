"""Loss and hits over the images since a log was written last, added up on the device."""

import torch
from torch import Tensor


class Meter:
    """Of the images `seen`: the loss, float32 (), and how many were right, int64 ()."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.seen = 0

    def add_(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: its mean loss (), logits (B, classes) and labels (B,)."""
        self.loss += loss.detach() * len(labels)
        self.correct += (logits.detach().argmax(1) == labels).sum()
        self.seen += len(labels)

    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy; waits for a gpu."""
        return float(self.loss) / self.seen, int(self.correct) / self.seen

    def clear_(self) -> None:
        """Begin anew."""
        self.loss.zero_(), self.correct.zero_()
        self.seen = 0
