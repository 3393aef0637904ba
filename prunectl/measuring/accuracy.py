"""Measures how well a network classifies, in one pass over labelled images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.data.images import ImageSource, Preprocessing
from prunectl.torchtools import distributed
from prunectl.torchtools.contexts import evaluating, full_precision
from prunectl.torchtools.copies import in_type_of
from prunectl.torchtools.layout import fastest

_TOP = 5


MOST_BATCH, MOST_BYTES = 512, 32 << 20
"""Most images in a batch, and most bytes of them as float32: larger batches are no faster."""


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Accuracies and loss; `confusion[true, predicted]` counts images, int64 (classes, classes)."""

    loss: float
    top1: float
    top5: float
    confusion: Tensor

    @property
    def per_class(self) -> list[float | None]:
        """The share of correctly classified images per class; None for a class without images."""
        counts, right = self.confusion.sum(1).tolist(), self.confusion.diag().tolist()
        return [r / n if n else None for r, n in zip(right, counts, strict=True)]

    def as_record(self, classes: Sequence[str]) -> dict[str, Any]:
        """All values as plain ones, with the classes by name."""
        return {
            "accuracy": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "per_class": dict(zip(classes, self.per_class, strict=True)),
            "confusion": self.confusion.tolist(),
        }


def batch_for(shape: tuple[int, int, int]) -> int:
    """The number of images (C, H, W) in a batch that fits the memory of a small machine."""
    return max(1, min(MOST_BATCH, MOST_BYTES // (4 * prod(shape))))


def accuracy(
    model: nn.Module,
    images: ImageSource,
    preprocessing: Preprocessing,
    *,
    classes: int,
    batch_size: int | None = None,
    amp: bool = False,
) -> Accuracy:
    """Classify every image once, in eval mode; the mode is restored.

    It runs in full float32, or with `amp` in bfloat16 where that is safe. A batch has `batch_size` images, by default
    `batch_for`. Counts stay on the device until the end. Each of several processes takes its share, and all get the
    result.
    """
    device = next(model.parameters()).device
    counts = _Counts(classes, device)
    size = batch_for(images.shape) if batch_size is None else batch_size
    with evaluating(model), full_precision(), fastest(model, images.shape, amp=amp), torch.inference_mode():
        for pixels, labels in images.batches(size, rows=distributed.rows):
            counts.add_(model(in_type_of(model, preprocessing(pixels.to(device)))).float(), labels.to(device))
    distributed.sum_([counts.loss, counts.top5, counts.confusion])
    return counts.result(len(images))


def accuracy_of(
    logits_of: Callable[[Tensor], Tensor], images: ImageSource, *, classes: int, batch_size: int | None = None
) -> Accuracy:
    """Classify every image once with a function on the cpu from uint8 pixels (B, C, H, W) to logits (B, classes)."""
    counts = _Counts(classes, torch.device("cpu"))
    for pixels, labels in images.batches(batch_for(images.shape) if batch_size is None else batch_size):
        counts.add_(logits_of(pixels), labels)
    return counts.result(len(images))


class _Counts:
    """Sums over batches, on one device: the loss, the images whose class is among the top five, and each pair."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes = classes
        exact = torch.float64 if device.type != "mps" else torch.float32
        self.loss = torch.zeros((), dtype=exact, device=device)
        self.top5 = torch.zeros((), dtype=torch.int64, device=device)
        self.confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)

    def add_(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: float logits (B, classes), labels (B,)."""
        self.loss += nn.functional.cross_entropy(logits, labels, reduction="sum")
        order = logits.sort(dim=1, descending=True, stable=True).indices  # of equal logits the first, as by argmax
        best = order[:, :_TOP]
        self.top5 += (best == labels[:, None]).any(1).sum()
        self.confusion.index_add_(0, labels * self.classes + best[:, 0], torch.ones_like(labels))

    def result(self, count: int) -> Accuracy:
        """The accuracy over `count` images in total."""
        table = self.confusion.view(self.classes, self.classes).cpu()
        return Accuracy(float(self.loss) / count, int(table.diag().sum()) / count, int(self.top5) / count, table)
