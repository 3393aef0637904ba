"""Decodes image files in worker processes, some batches ahead of their use."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from prunectl.errors import LOST_WORKER, DataError
from prunectl.torchtools.cores import cores

_WORKERS = 4


def decoded_batches(
    paths: Sequence[Any], decoder: Callable[[Any], NDArray[np.uint8]], batches: Sequence[Sequence[int]]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the pixels (B, C, H, W) of each batch of positions in `paths`, in the order of `batches`.

    Processes, not threads: on files of 32x32 pixels, two threads are slower than one, two processes twice as fast.

    Raises:
        DataError: an image cannot be read, or a process was killed.
    """
    loader: DataLoader[Any] = DataLoader(
        _Batches(paths, decoder),
        batch_size=None,
        sampler=batches,
        num_workers=min(_WORKERS, cores(), len(batches)),
        collate_fn=_unchanged,
        generator=torch.Generator(),  # the loader draws a number, which must not change dropout's random state
    )
    try:
        for array in loader:
            if isinstance(array, DataError):
                raise array
            yield array
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise DataError(f"{LOST_WORKER}; use a smaller `image_size` or `batch_size`") from error


@dataclass(frozen=True)
class _Batches(Dataset[NDArray[np.uint8] | DataError]):
    """Runs in a worker; returns arrays, since tensors would need more of /dev/shm than a container has."""

    paths: Sequence[Any]
    decoder: Callable[[Any], NDArray[np.uint8]]

    def __getitem__(self, positions: Sequence[int]) -> NDArray[np.uint8] | DataError:
        try:
            return np.stack([self.decoder(self.paths[i]) for i in positions])  # (B, C, H, W)
        except DataError as error:  # returned, because the loader would raise it with a traceback of ten lines
            return error


def _unchanged(batch: Any) -> Any:
    return batch
