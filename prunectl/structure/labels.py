"""Labels: one number per index of an axis; operations declare labels equal, and equal labels form one node."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.int64]
"""The labels of one axis, int64 (n,)."""


@dataclass(frozen=True, eq=False)
class Value:
    """What is known about a tensor: its shape, and per axis its labels, or None if every index stays.

    `zero[d]` says that in the masked network all entries at removed indices of axis d are exactly zero. `image` says
    that the tensor depends on the image, and so has entries for every image of the batch.
    """

    shape: tuple[int, ...]
    rows: tuple[Row | None, ...]
    zero: tuple[bool, ...]
    image: bool = True

    @staticmethod
    def plain(shape: Iterable[int], image: bool = True) -> "Value":
        """A tensor whose indices all stay."""
        shape = tuple(shape)
        return Value(shape, (None,) * len(shape), (False,) * len(shape), image)

    def row(self, axis: int) -> Row | None:
        """The labels of an axis, which may be counted from the end."""
        return self.rows[axis]

    @property
    def labelled(self) -> list[int]:
        """The axes that carry labels."""
        return [d for d, row in enumerate(self.rows) if row is not None]


@dataclass(frozen=True)
class Reason:
    """Why something stays: the reason, the operation, and the line of the network's source."""

    why: str
    operation: str
    module: str
    line: str

    def __str__(self) -> str:
        where = f" in '{self.module}'" if self.module else ""
        return f"{self.why} ({self.operation}{where}{'; ' + self.line if self.line else ''})"


@dataclass
class Labels:
    """A union-find over labels, where a set may have a reason to stay."""

    parent: Row = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    reason_of: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    reasons: list[Reason] = field(default_factory=list)
    used: int = 0

    def fresh(self, count: int) -> Row:
        """New labels, each in its own set."""
        first, self.used = self.used, self.used + count
        if self.used > len(self.parent):
            size = max(1024, 2 * self.used)
            self.parent = np.concatenate([self.parent, np.arange(len(self.parent), size)])
            self.reason_of = np.concatenate([self.reason_of, np.zeros(size - len(self.reason_of), dtype=np.int32)])
        return np.arange(first, self.used, dtype=np.int64)

    def find(self, row: Row) -> Row:
        """The representative of every label's set, the smallest of its labels."""
        root: Row = self.parent[row]
        while True:
            above = self.parent[root]
            if np.array_equal(above, root):
                break
            root = above
        self.parent[row] = root
        return root

    def unify(self, one: Row, other: Row) -> None:
        """Declare two rows of labels equal, position by position; a reason to stay holds for all equal labels."""
        while True:
            one, other = self.find(one), self.find(other)
            differ = one != other
            if not differ.any():
                return
            one, other = one[differ], other[differ]
            low, high = np.minimum(one, other), np.maximum(one, other)
            self.parent[high] = low
            known = (self.reason_of[high] > 0) & (self.reason_of[low] == 0)
            self.reason_of[low[known]] = self.reason_of[high[known]]

    def tie(self, table: NDArray[np.int64]) -> Row:
        """Declare the labels in every line of a table (n, m) equal; returns one per line, (n,)."""
        if table.shape[1] > 1:
            self.unify(np.repeat(table[:, 0], table.shape[1] - 1), table[:, 1:].reshape(-1))
        return table[:, 0].copy()

    def freeze(self, row: Row | None, reason: Reason) -> None:
        """Mark these labels as staying."""
        if row is None or not len(row):
            return
        roots = np.unique(self.find(row))
        roots = roots[self.reason_of[roots] == 0]
        if len(roots):
            if not self.reasons or self.reasons[-1] != reason:
                self.reasons.append(reason)
            self.reason_of[roots] = len(self.reasons)

    def frozen(self, row: Row) -> NDArray[Any]:
        """Which labels stay: bool (n,)."""
        return np.asarray(self.reason_of[self.find(row)] > 0)

    def count(self, row: Row) -> int:
        """The number of different removable sets among a row's labels."""
        roots = np.unique(self.find(row))
        return int((self.reason_of[roots] == 0).sum())
