"""Patterns N:M: of every M consecutive weights along the inputs, N are kept."""

import re

import torch
from torch import Tensor

from prunectl.errors import OptionError

Pattern = tuple[int, int]
_PATTERN = re.compile(r"([1-9]\d*):([1-9]\d*)")


def pattern_of(scope: str) -> Pattern | None:
    """(N, M) for a scope `N:M`, None for any other.

    Raises:
        OptionError: N is not less than M.
    """
    found = _PATTERN.fullmatch(scope)
    if found is None:
        return None
    n, m = int(found[1]), int(found[2])
    if n >= m:
        raise OptionError(f"a pattern N:M keeps N of every M weights and needs N < M, such as 2:4; got {scope}")
    return n, m


def best_of_every(scores: Tensor, pattern: Pattern, axis: int | None) -> Tensor | None:
    """True at the N best of every M entries along an axis; None if its length is not a multiple of M.

    Among equal scores, earlier indices come first.
    """
    n, m = pattern
    if axis is None or scores.shape[axis] % m:
        return None
    groups = torch.unflatten(scores.movedim(axis, -1), -1, (-1, m))  # (..., inputs / M, M)
    best = torch.argsort(groups, dim=-1, descending=True, stable=True)[..., :n]
    chosen = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, best, True)
    return chosen.flatten(-2).movedim(-1, axis)
