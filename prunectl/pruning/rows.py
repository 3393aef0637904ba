"""The weights of a layer in the order of their scores, without a copy of the scores."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from prunectl.torchtools.pieces import pieces

_HALF = 1 << 16
"""The number of values of half the bits of a float32."""
_PARTS, _LEAST = 16, 1 << 20
"""The number of parts that are sorted one after another, and the least entries of each."""


@dataclass(frozen=True, eq=False)
class Row:
    """The scores of a layer as float32: -inf where `alive` (bool, of their shape) is False, +inf at index `first`.

    With `make`, the scores are its results for the entries of `scores`.
    """

    scores: Tensor
    alive: Tensor | None = None
    first: int | None = None
    make: Callable[[Tensor], Tensor] | None = None

    def __len__(self) -> int:
        return self.scores.numel()

    def __iter__(self) -> Iterator[Tensor]:
        """Make new pieces, which may be written to."""
        start = 0
        for piece, *mask in pieces(self.scores, *([] if self.alive is None else [self.alive])):
            made = piece if self.make is None else self.make(piece)
            ranked = made.float()
            ranked = ranked.clone() if ranked is piece else ranked
            for kept in mask:
                ranked.masked_fill_(~kept, -torch.inf)
            if self.first is not None and start <= self.first < start + len(ranked):
                ranked[self.first - start] = torch.inf
            start += len(ranked)
            yield ranked

    def alive_entries(self) -> int:
        """The number of entries above -inf."""
        return sum(int((piece > -torch.inf).count_nonzero()) for piece in self)

    def best_first(self) -> "Row":
        """The same row with its best entry, the earliest of equal ones, before all others; it must be alive."""
        best, where, start = -torch.inf, None, 0
        for piece in self:
            place = piece.argmax()
            if (value := float(piece[place])) > best:
                best, where = value, start + int(place)
            start += len(piece)
        return replace(self, first=where)

    def descending(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices (int64) and values of all entries, highest first, earlier ones first among equals, in several parts.

        A part has a sixteenth of the entries, or more if that many are nearly equal. A gpu uses one part, because sums
        over parts would differ.
        """
        size = len(self) if self.scores.is_cuda else max(len(self) // _PARTS, _LEAST)
        for low, high in _ranges(self, size):
            index, values, start = [], [], 0
            for piece in self:
                bins = _bins(piece)
                places = torch.nonzero((bins >= low) & (bins < high)).flatten()
                index.append(places + start)
                values.append(piece[places])
                start += len(piece)
            ranked, order = torch.cat(values).sort(descending=True, stable=True)
            if len(order):
                yield torch.cat(index)[order], ranked


def _ranges(row: Row, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of bins with at least `size` entries each, from the highest down; the last one has the rest."""
    counts, high, entries = _counted([row]).tolist(), _HALF, 0
    for low in reversed(range(_HALF)):
        entries += counts[low]
        if entries >= size or not low:
            yield low, high
            high, entries = low, 0


def highest_of(rows: Sequence[Row], keep: int) -> list[Tensor]:
    """True at the `keep` highest entries of all rows together, one bool row each; earlier ones first among equals.

    Two counts of the bits of all entries find the lowest kept value: time is linear, and memory that of one piece.
    """
    if keep == 0:  # a layer that is already pruned completely
        return [torch.zeros(len(row), dtype=torch.bool, device=row.scores.device) for row in rows]
    threshold, ties = _lowest_kept(rows, keep)
    kept = []
    for row in rows:
        mask = torch.empty(len(row), dtype=torch.bool, device=row.scores.device)
        start = 0
        for piece in row:
            part = mask[start : start + len(piece)]
            start += len(piece)
            torch.gt(piece, threshold, out=part)
            if ties:
                equal = torch.nonzero(piece == threshold).flatten()[:ties]
                part[equal] = True
                ties -= len(equal)
        kept.append(mask)
    return kept


def _lowest_kept(rows: Sequence[Row], keep: int) -> tuple[float, int]:
    """The value of the last kept entry, and how many entries of this value are kept."""
    half, left = _bin_from_above(_counted(rows), keep)
    lower = torch.zeros(_HALF, dtype=torch.int64)
    for row in rows:
        for piece in row:
            keys = _key(piece[_bins(piece) == half])
            lower += torch.bincount(keys & (_HALF - 1), minlength=_HALF).cpu()
    rest, left = _bin_from_above(lower, left)
    key = torch.tensor((half - _HALF // 2 << 16) + rest, dtype=torch.int32)
    return float(_flipped(key).view(torch.float32)), left


def _counted(rows: Sequence[Row]) -> Tensor:
    """The number of entries in every bin, int64 (bins,)."""
    counts = torch.zeros(_HALF, dtype=torch.int64)
    for row in rows:
        for piece in row:
            counts += torch.bincount(_bins(piece), minlength=_HALF).cpu()
    return counts


def _bins(numbers: Tensor) -> Tensor:
    """The upper half of the bits of each key, from 0: higher numbers are in the same or a higher bin."""
    return (_key(numbers) >> 16) + _HALF // 2


def _bin_from_above(counts: Tensor, keep: int) -> tuple[int, int]:
    """The bin of the `keep`-th highest entry, and the rank of the entry in this bin."""
    above = counts.flip(0).cumsum(0)
    place = int(torch.searchsorted(above, keep))
    return len(counts) - 1 - place, keep - int(above[place] - counts.flip(0)[place])


def _key(numbers: Tensor) -> Tensor:
    """Integers in the order of some float32 numbers, equal if the numbers are: -0 is 0."""
    return _flipped((numbers + 0.0).view(torch.int32))


def _flipped(bits: Tensor) -> Tensor:
    """Exchange the bits of a negative float32 and an integer of the same rank; applied twice, it changes nothing."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)
