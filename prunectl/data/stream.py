"""Labelled images that do not fit in memory, decoded by worker processes on demand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunectl.data.images import Rows, augmented, mixed, shuffled, slices
from prunectl.data.workers import decoded_batches
from prunectl.errors import DataError


class Decodes(Protocol):
    """Decodes an item of `paths`: a file's path, or a position in a Dataset."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the decoded images."""

    def __call__(self, item: Any, /) -> NDArray[np.uint8]:
        """The pixels (C, H, W) of one item."""


@dataclass(frozen=True)
class Stream:
    """The `prunectl.data.images.ImageSource` that reads `paths[i]` for i in `positions`; `labels` are on its device."""

    paths: Sequence[Any]
    positions: Tensor
    labels: Tensor
    decoder: Decodes

    def __post_init__(self) -> None:
        if self.labels.shape != self.positions.shape:
            raise DataError(f"expected a label per image, got {len(self.labels)} labels, {len(self.positions)} images")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.decoder.shape

    def __len__(self) -> int:
        return len(self.positions)

    def to(self, device: torch.device) -> "Stream":
        """Yield batches on a device."""
        return replace(self, labels=self.labels.to(device))

    def take(self, index: Tensor) -> "Stream":
        """The images at these positions."""
        return replace(self, positions=self.positions[index.cpu()], labels=self.labels[index.to(self.labels.device)])

    def relabel(self, labels: Tensor) -> "Stream":
        """The same images under other labels."""
        return replace(self, labels=labels)

    def batches(
        self,
        size: int,
        *,
        seed: int | None = None,
        start: int = 0,
        augment: tuple[str, ...] = (),
        rows: Rows = slice,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what `prunectl.data.images.Images.batches` of the same images would yield.

        Raises:
            DataError: an image cannot be read.
        """
        order = shuffled(len(self), seed, torch.device("cpu"))
        order = torch.arange(len(self)) if order is None else order
        batches = enumerate(slices(len(self), size, drop_single=seed is not None))
        whole = [(i, order[batch]) for i, batch in batches if i >= start]
        chosen = [(i, index, index[rows(len(index))]) for i, index in whole]
        chosen = [each for each in chosen if len(each[2])]
        device = self.labels.device
        read = decoded_batches(self.paths, self.decoder, [self.positions[mine].tolist() for _, _, mine in chosen])
        for (i, index, mine), array in zip(chosen, read, strict=True):
            pixels = torch.from_numpy(array).to(device)
            if seed is not None:
                pixels = augmented(pixels, augment, mixed(seed, i), len(index), rows(len(index)))
            yield pixels, self.labels[mine.to(device)]
