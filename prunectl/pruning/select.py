"""Which weights stay: an exact count, the highest scores first, never one that is already pruned."""

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
    """Keep exactly `keep` of the weights that are alive.

    Scope `global` ranks all weights together, `layer` gives every layer the same share, `output` every output of a
    layer, too, `erk` shares that fall with the layer's size, `lamp` ranks all weights by their part of what is left of
    their layer. Ties go to the earlier index. Every layer keeps at least one weight, so that no layer is cut through. A
    pattern `N:M` is for `select_pattern`. A function is used directly.

    Raises:
        OptionError: fewer weights than layers would stay, or more than are alive.
    """
    if isinstance(scope, str):
        check_scope(scope)
    left = sum(alive.count(name, shape) for name, shape in scores.shapes.items())
    if keep < len(scores):
        raise OptionError(
            f"{keep} weights would stay for {len(scores)} layers, at least one each; ask for less sparsity"
        )
    if keep > left:
        raise OptionError(f"only {left} weights are left, {keep} were to stay; ask for more sparsity")
    kept = (SCOPES[scope] if isinstance(scope, str) else scope)(scores, alive, keep)
    return Masks({name: kept[name].view(shape) for name, shape in scores.shapes.items()})


def _global(scores: Scores, alive: Masks, keep: int) -> dict[str, Tensor]:
    """Rank all layers together, the best weight of each layer first of all."""
    rows = [row.best_first() for row in _rows(scores, alive)]
    return dict(zip(scores, highest_of(rows, keep), strict=True))


def _layer(scores: Scores, alive: Masks, keep: int) -> dict[str, Tensor]:
    """Give every layer the same share of its weights, and rank within the layer."""
    return _shared(scores, alive, keep, [shape.numel() for shape in scores.shapes.values()])


def _output(scores: Scores, alive: Masks, keep: int) -> dict[str, Tensor]:
    """Give every layer the same share of its weights, and every output (dim 0) of a layer as many as the others."""
    levels = {name: _by_place(_ranked(name, score, alive).view_as(score)) for name, score in scores.items()}
    return _layer(Scores(levels), alive, keep)


def _by_place(score: Tensor) -> Tensor:
    """Scores by which the best weight of every output comes first, then the second of each; of equals the higher."""
    rows = score.flatten(1) if score.ndim > 1 else score.view(1, -1)
    places = torch.argsort(torch.argsort(rows, descending=True, stable=True), stable=True).flatten()
    order = torch.argsort(score.flatten(), descending=True, stable=True)
    order = order[torch.argsort(places[order], stable=True)]
    levels = torch.arange(len(order), 0, -1, dtype=torch.float32, device=score.device)
    return torch.empty_like(levels).index_copy_(0, order, levels).view_as(score)


def _erk(scores: Scores, alive: Masks, keep: int) -> dict[str, Tensor]:
    """Give a layer weights in proportion to the sum of its dimensions (n_in + n_out + height + width), all at most.

    Source: Erdős-Rényi-Kernel of Evci et al. 2020, arXiv:1911.11134, section 3.
    """
    return _shared(scores, alive, keep, [max(sum(shape), 1) for shape in scores.shapes.values()])


def _shared(scores: Scores, alive: Masks, keep: int, sizes: list[int]) -> dict[str, Tensor]:
    """Share `keep` in proportion to `sizes`, and rank within the layer."""
    rows = _rows(scores, alive)
    shares = apportion(sizes, [row.alive_entries() for row in rows], keep)
    return {name: highest_of([row], share)[0] for name, row, share in zip(scores, rows, shares, strict=True)}


def _rows(scores: Scores, alive: Masks) -> list[Row]:
    """The layers in the form in which they are ranked."""
    sources = {name: scores.source(name) for name in scores}
    return [Row(score, alive.get(name), make=make) for name, (score, make) in sources.items()]


def _lamp(scores: Scores, alive: Masks, keep: int) -> dict[str, Tensor]:
    """Rank all layers together by what `lamp` makes of the scores, as float32."""
    return _global(lamp(scores, alive, torch.float32), alive, keep)


def lamp(scores: Scores, alive: Masks, dtype: torch.dtype = torch.float64) -> Scores:
    """s² / Σ s² over the weights of the layer that would still be there, those with a score of s or more.

    Squares and sums are in float64. Source: layer-adaptive magnitude of Lee et al. 2021, arXiv:2010.07611.

    Raises:
        OptionError: a score is below 0.
    """
    if any(bool((piece < 0).any()) for score in scores.values() for (piece,) in pieces(score)):
        raise OptionError("scope lamp squares the scores, and some are below 0; use scope global or layer")
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
    """The scope in which every layer keeps as large a part of the whole as it has in these masks."""

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
    """Keep the N best of every M weights that follow each other along the inputs, of those alive.

    `axes` has the input axis of each weight. A layer without one, or whose inputs are no multiple of M, stays as it is.
    Ties go to the earlier index.
    """
    n, m = pattern
    kept, touched = {}, False
    for name, score in scores.items():
        row = _ranked(name, score, alive).view_as(score)
        chosen, kept[name] = best_of_every(row, pattern, axes[name]), row > -torch.inf
        if chosen is not None:
            kept[name], touched = kept[name] & chosen, True
    if not touched:
        raise OptionError(
            f"no layer has inputs in a multiple of {m}, so {n}:{m} would prune nothing; use another scope"
        )
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
    """Scores in one row, -inf where the weight is already pruned."""
    row = score.detach().float().flatten().clone()
    return row.masked_fill_(~alive[name].flatten(), -torch.inf) if name in alive else row
