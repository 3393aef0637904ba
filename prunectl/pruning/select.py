"""Selects the weights that stay: an exact count, the highest scores first, never one that is already pruned."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from prunectl.criteria.base.pattern import Pattern, best_of_every
from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.plugins.registry import unknown
from prunectl.pruning.rows import Row, highest_of
from prunectl.scores import Scores
from prunectl.torchtools.pieces import pieces

Scope = Callable[[Scores, Masks, int], dict[str, Tensor]]


def select(scores: Scores, alive: Masks, keep: int, scope: str | Scope = "global") -> Masks:
    """Keep exactly `keep` of the alive weights.

    Scope `global` ranks all weights together, `layer` keeps the same share of every layer, `output` also of every
    output of a layer, `erk` keeps shares that fall with the layer's size, `lamp` ranks all weights by their part of
    what is left of their layer. Among equal scores, earlier indices come first. Every layer keeps at least one weight,
    so that none is cut through. Patterns `N:M` are for `select_pattern`. A function is used directly.

    Raises:
        OptionError: fewer weights than layers would stay, or more than are alive.
    """
    if isinstance(scope, str):
        check_scope(scope)
    left = sum(alive.count(name, shape) for name, shape in scores.shapes.items())
    if keep < len(scores):
        raise OptionError(
            f"{len(scores)} layers need at least one weight each, but only {keep} would stay; use less sparsity"
        )
    if keep > left:
        raise OptionError(f"only {left} weights are left, but {keep} should stay; use more sparsity")
    kept = (SCOPES[scope] if isinstance(scope, str) else scope)(scores, alive, keep)
    return Masks({name: kept[name].view(shape) for name, shape in scores.shapes.items()})


def _global(scores: Scores, alive: Masks, keep: int) -> dict[str, Tensor]:
    """Rank all layers together, with the best weight of each layer first."""
    rows = [row.best_first() for row in _rows(scores, alive)]
    return dict(zip(scores, highest_of(rows, keep), strict=True))


def _layer(scores: Scores, alive: Masks, keep: int) -> dict[str, Tensor]:
    """Keep the same share of every layer, and rank within the layer."""
    return _shared(scores, alive, keep, [shape.numel() for shape in scores.shapes.values()])


def _output(scores: Scores, alive: Masks, keep: int) -> dict[str, Tensor]:
    """Keep the same share of every layer, and equally many weights of every output (dim 0) of a layer."""
    levels = {name: _by_place(_ranked(name, score, alive).view_as(score)) for name, score in scores.items()}
    return _layer(Scores(levels), alive, keep)


def _by_place(score: Tensor) -> Tensor:
    """Scores that put the best weight of every output first, then the second of each, higher ones first."""
    rows = score.flatten(1) if score.ndim > 1 else score.view(1, -1)
    places = torch.argsort(torch.argsort(rows, descending=True, stable=True), stable=True).flatten()
    order = torch.argsort(score.flatten(), descending=True, stable=True)
    order = order[torch.argsort(places[order], stable=True)]
    levels = torch.arange(len(order), 0, -1, dtype=torch.float32, device=score.device)
    return torch.empty_like(levels).index_copy_(0, order, levels).view_as(score)


def _erk(scores: Scores, alive: Masks, keep: int) -> dict[str, Tensor]:
    """Keep weights in proportion to the sum of a layer's dimensions (n_in + n_out + height + width), at most all.

    Source: Erdős-Rényi-Kernel of Evci et al. 2020, arXiv:1911.11134, section 3.
    """
    return _shared(scores, alive, keep, [max(sum(shape), 1) for shape in scores.shapes.values()])


def _shared(scores: Scores, alive: Masks, keep: int, sizes: list[int]) -> dict[str, Tensor]:
    """Distribute `keep` in proportion to `sizes`, and rank within the layer."""
    rows = _rows(scores, alive)
    shares = apportion(sizes, [row.alive_entries() for row in rows], keep)
    return {name: highest_of([row], share)[0] for name, row, share in zip(scores, rows, shares, strict=True)}


def _rows(scores: Scores, alive: Masks) -> list[Row]:
    """The layers as rows for ranking."""
    sources = {name: scores.source(name) for name in scores}
    return [Row(score, alive.get(name), make=make) for name, (score, make) in sources.items()]


def _lamp(scores: Scores, alive: Masks, keep: int) -> dict[str, Tensor]:
    """Rank all layers together by the result of `lamp`, as float32."""
    return _global(lamp(scores, alive, torch.float32), alive, keep)


def lamp(scores: Scores, alive: Masks, dtype: torch.dtype = torch.float64) -> Scores:
    """s² / Σ s² over the remaining weights of the layer, those with a score of s or more.

    Squares and sums are in float64. Source: layer-adaptive magnitude of Lee et al. 2021, arXiv:2010.07611.

    Raises:
        OptionError: a score is below 0.
    """
    if any(bool((piece < 0).any()) for score in scores.values() for (piece,) in pieces(score)):
        raise OptionError("scope lamp squares the scores, but some are below 0; use scope global or layer")
    adapted = {}
    for (name, shape), row in zip(scores.shapes.items(), _rows(scores, alive), strict=True):
        shares = torch.empty(len(row), dtype=dtype, device=row.scores.device)
        left = torch.zeros((), dtype=torch.float64, device=row.scores.device)
        for order, ranked in row.descending():
            squares = torch.where(ranked > -torch.inf, ranked, 0).double().square()
            sums = torch.cat([left[None], squares]).cumsum(0)[1:]
            shares.index_copy_(0, order, (squares / sums.where(sums > 0, 1)).to(dtype))
            left = sums[-1]
        adapted[name] = shares.view(shape)
    return Scores(adapted)


def as_in(masks: Masks) -> Scope:
    """The scope in which every layer keeps the share of all weights that it has in these masks."""

    def scope(scores: Scores, alive: Masks, keep: int) -> dict[str, Tensor]:
        sizes = [masks.count(name, shape) for name, shape in scores.shapes.items()]
        return _shared(scores, alive, keep, sizes)

    return scope


SCOPES: dict[str, Scope] = {"global": _global, "layer": _layer, "output": _output, "erk": _erk, "lamp": _lamp}


def check_scope(scope: str) -> None:
    """Refuse an unknown scope for weights, or a pattern.

    Raises:
        UnknownName: not in `SCOPES`.
    """
    if scope not in SCOPES:
        raise unknown("scope", scope, [*SCOPES, "2:4"])


def select_pattern(scores: Scores, alive: Masks, pattern: Pattern, axes: Mapping[str, int | None]) -> Masks:
    """Keep the N best alive weights of every M consecutive ones along the inputs.

    `axes` has the input axis of each weight. A layer without one, or whose inputs are not a multiple of M, is not
    pruned. Among equal scores, earlier indices come first.
    """
    n, m = pattern
    kept, touched = {}, False
    for name, score in scores.items():
        row = _ranked(name, score, alive).view_as(score)
        chosen, kept[name] = best_of_every(row, pattern, axes[name]), row > -torch.inf
        if chosen is not None:
            kept[name], touched = kept[name] & chosen, True
    if not touched:
        raise OptionError(f"no layer has a multiple of {m} inputs, so {n}:{m} would prune nothing; use another scope")
    return Masks(kept)


def apportion(sizes: list[int], room: list[int], total: int) -> list[int]:
    """Split `total` in proportion to `sizes`, exactly, with at least 1 and at most `room` for each.

    `total` is between the number of sizes with room and the sum of the room.
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
    """Scores in one row, with -inf for weights that are already pruned."""
    row = score.detach().float().flatten().clone()
    return row.masked_fill_(~alive[name].flatten(), -torch.inf) if name in alive else row
