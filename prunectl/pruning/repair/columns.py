"""Stores values of a network for many batches, in memory up to a limit, then in temporary files."""

import tempfile
from collections.abc import Iterator
from typing import IO, Any

import torch
from torch import Tensor

from prunectl.errors import FileError


class Budget:
    """The number of bytes that may be in memory."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0


class Column:
    """One value per batch, in order. Tensors beyond the budget go to a file without a name, which leaves no trace."""

    def __init__(self, budget: Budget) -> None:
        self.budget, self.held = budget, 0
        self.items: list[Any] = []
        self.file: IO[bytes] | None = None

    def append(self, value: Any) -> None:
        """Add the value of the next batch.

        Raises:
            FileError: the folder of temporary files is full.
        """
        if not isinstance(value, Tensor):
            self.items.append(value)
            return
        value = value.detach()
        size = value.numel() * value.element_size()
        if self.file is None and self.budget.used + size <= self.budget.limit:
            self.items.append(value.clone())
            self.budget.used += size
            self.held += size
            return
        try:
            self.file = self.file or tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
            place = self.file.tell()
            self.file.write(memoryview(value.cpu().contiguous().flatten().view(torch.uint8).numpy()))
        except OSError as error:
            raise FileError(
                f"cannot write {size:,} bytes to {tempfile.gettempdir()}: {error.strerror}; free some space, point "
                "TMPDIR to another folder, or use a smaller `n`"
            ) from error
        self.items.append(_Stored(place, size, value.dtype, value.shape, value.device))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Any:
        """The value of a batch."""
        item = self.items[i]
        if not isinstance(item, _Stored):
            return item
        assert self.file is not None
        end = self.file.tell()
        raw = bytearray(item.size)
        self.file.seek(item.place)
        self.file.readinto(raw)  # type: ignore[attr-defined]
        self.file.seek(end)
        flat = torch.frombuffer(raw, dtype=torch.uint8) if raw else torch.empty(0, dtype=torch.uint8)
        return flat.view(item.dtype).view(item.shape).to(item.device)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def close(self) -> None:
        """Free memory and disk."""
        self.budget.used -= self.held
        self.held, self.items = 0, []
        if self.file is not None:
            self.file.close()


class _Stored:
    """Where a tensor is in a file."""

    def __init__(self, place: int, size: int, dtype: torch.dtype, shape: torch.Size, device: torch.device) -> None:
        self.place, self.size, self.dtype, self.shape, self.device = place, size, dtype, shape, device
