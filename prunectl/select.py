"""Which weights stay: an exact count, the highest scores first, never one that is already pruned."""

from collections.abc import Callable

import torch
from torch import Tensor

from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.registry import unknown
from prunectl.scores import Scores

Scope = Callable[[Scores, Masks, int], dict[str, Tensor]]


def select(scores: Scores, alive: Masks, keep: int, scope: str = "global") -> Masks:
    """Keep exactly `keep` of the weights that are alive.

    Scope `global` ranks all weights together, `layer` gives every layer the same share. Ties go to the earlier index.
    Every layer keeps at least one weight, so that no layer is cut through.

    Raises:
        OptionError: fewer weights than layers would stay, or more than are alive.
    """
    if scope not in SCOPES:
        raise unknown("scope", scope, SCOPES)
    left = sum(int(alive[name].sum()) if name in alive else score.numel() for name, score in scores.items())
    if keep < len(scores):
        raise OptionError(
            f"{keep} weights would stay for {len(scores)} layers, at least one each; ask for less sparsity"
        )
    if keep > left:
        raise OptionError(f"only {left} weights are left, {keep} were to stay; ask for more sparsity")
    kept = SCOPES[scope](scores, alive, keep)
    return Masks({name: kept[name].view_as(score) for name, score in scores.items()})


def _global(scores: Scores, alive: Masks, keep: int) -> dict[str, Tensor]:
    """Rank all layers together, the best weight of each layer first of all."""
    rows = {name: _ranked(name, score, alive) for name, score in scores.items()}
    for row in rows.values():
        best = row.argmax()
        if row[best] > -torch.inf:
            row[best] = torch.inf
    kept = _highest(torch.cat(list(rows.values())), keep)
    return dict(zip(rows, torch.split(kept, [len(row) for row in rows.values()]), strict=True))


def _layer(scores: Scores, alive: Masks, keep: int) -> dict[str, Tensor]:
    """Give every layer the same share of its weights, and rank within the layer."""
    rows = {name: _ranked(name, score, alive) for name, score in scores.items()}
    room = [int((row > -torch.inf).sum()) for row in rows.values()]
    shares = apportion([len(row) for row in rows.values()], room, keep)
    return {name: _highest(row, share) for (name, row), share in zip(rows.items(), shares, strict=True)}


SCOPES: dict[str, Scope] = {"global": _global, "layer": _layer}


def apportion(sizes: list[int], room: list[int], total: int) -> list[int]:
    """Split `total` in proportion to `sizes`, exactly, with at least 1 and at most `room` for each.

    `total` lies between the number of sizes with room and the sum of the room.
    """

    def shares_of(factor: float) -> list[float]:
        return [min(max(factor * size, 1), limit) for size, limit in zip(sizes, room, strict=True)]

    low, high = 0.0, float(max(room))
    for _ in range(100):  # until the interval is below the spacing of floats
        middle = (low + high) / 2
        low, high = (middle, high) if sum(shares_of(middle)) <= total else (low, middle)
    exact = shares_of(low)
    shares = [int(share) for share in exact]
    order = sorted(range(len(sizes)), key=lambda i: (shares[i] - exact[i], i))  # largest remainder first
    while (missing := total - sum(shares)) > 0:
        for i in [i for i in order if shares[i] < room[i]][:missing]:
            shares[i] += 1
    return shares


def _ranked(name: str, score: Tensor, alive: Masks) -> Tensor:
    """Scores in one row, -inf where the weight is already pruned."""
    row = score.detach().float().flatten().clone()
    return row.masked_fill_(~alive[name].flatten(), -torch.inf) if name in alive else row


def _highest(row: Tensor, keep: int) -> Tensor:
    """True at the `keep` highest entries; of equal ones the earlier index wins.

    The same as a stable descending sort, but linear in time: everything above the k-th highest value, then as many of
    its equals as are missing.
    """
    if keep == 0:  # a layer that is pruned away already
        return torch.zeros_like(row, dtype=torch.bool)
    threshold = row.kthvalue(len(row) - keep + 1).values
    kept = row > threshold
    ties = torch.nonzero(row == threshold).flatten()
    kept[ties[: keep - int(kept.sum())]] = True
    return kept
