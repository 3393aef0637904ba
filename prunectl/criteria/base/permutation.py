"""Reorders channels so that a pattern N:M keeps more, without changing the network's function."""

import copy
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from prunectl.criteria.base.pattern import Pattern, pattern_of
from prunectl.errors import OptionError
from prunectl.masks import input_axes, prunable
from prunectl.structure.keep import nodes_on, parameters_named
from prunectl.structure.nodes import Structure
from prunectl.structure.order import node_kinds, reorder_
from prunectl.structure.surgery.proof import Reference
from prunectl.structure.trace import named_tensors, trace

_SWEEPS = 10
"""Most passes over all pairs of stripes."""
_MOST_ROWS = 512
"""Most rows used to choose swaps: a layer of 512 x 512 x 3 x 3 has 4,608, and 8,128 pairs of stripes."""
_TOLERANCE = 1e-9
"""The largest relative difference of outputs, in float64, that counts as rounding."""


def permute_channels_(
    model: nn.Module, shape: tuple[int, int, int], scope: str, keep: Sequence[str], *, permute: bool = False
) -> None:
    """Permute channels so that a pattern along the inputs keeps more of Σ|θ|, in all layers that read them.

    Nodes of one group move together in every layer that outputs, changes or reads them. For every pair of stripes, two
    channels are swapped if that is better, until no swap is, or after `_SWEEPS` passes (seconds for 64 channels,
    minutes for 512). A group stays if its move would change the outputs, or if layers read it at different places.
    Layers in `keep` stay too. Source: Pool & Yu 2021 (NeurIPS), channel permutations for N:M sparsity; the greedy
    channel swaps of their search.

    Raises:
        OptionError: the scope is not a pattern.
        StructureError: the network cannot be traced.
    """
    if not permute:
        return
    pattern = pattern_of(scope)
    if pattern is None:
        raise OptionError(f"`permute` orders channels for a pattern; use `scope` 2:4 instead of {scope}")
    structure = trace(model, shape)
    structure = structure.frozen(nodes_on(structure, parameters_named(model, keep)))
    trial = copy.deepcopy(model).double()
    before = Reference.on_fitting_images(trial, shape, lambda pixels: pixels / 255)
    before.outputs  # noqa: B018  (runs the network before anything moves)
    kinds = node_kinds(structure)
    for group in range(int(structure.groups.max()) + 1 if structure.nodes else 0):
        for kind in torch.unique(kinds[structure.groups == group]).tolist():
            nodes = torch.nonzero((structure.groups == group) & (kinds == kind)).flatten()
            order = _better_order(model, structure, nodes, pattern)
            if order is None:
                continue
            reorder_(named_tensors(trial), structure, order)
            if before.difference(trial) <= _TOLERANCE:
                reorder_(named_tensors(model), structure, order)
            else:
                reorder_(named_tensors(trial), structure, torch.argsort(order))


def _better_order(model: nn.Module, structure: Structure, nodes: Tensor, pattern: Pattern) -> Tensor | None:
    """The node to move to the place of every node, (all nodes,); None if the order stays."""
    rows, first = list[Tensor](), torch.empty(0, dtype=torch.int64)
    places = first
    weights = prunable(model)
    for name, classes in _read_in_pattern(model, structure, pattern[1]).items():
        here = torch.nonzero(torch.isin(classes, nodes)).flatten()
        if not len(here) or _in_whole_stripes(classes, pattern[1]):
            continue
        if not rows:
            first, places = classes, here
        if len(here) != len(nodes) or len(classes) != len(first) or not classes[here].equal(first[places]):
            return None
        rows.append(weights[name].detach().abs().movedim(int(input_axes(model)[name] or 0), -1).flatten(0, -2))
    if not rows:
        return None
    source = better_columns(torch.cat(rows), places, pattern)
    order = torch.arange(structure.nodes)
    order[first[places]] = first[source[places]]
    return None if order.equal(torch.arange(structure.nodes)) else order


def _read_in_pattern(model: nn.Module, structure: Structure, m: int) -> dict[str, Tensor]:
    """The classes of the inputs of every weight that a pattern prunes."""
    found = dict[str, Tensor]()
    for name, axis in input_axes(model).items():
        if axis is not None and (name, axis) in structure.consumers & structure.axes.keys():
            classes = structure.axes[name, axis]
            found |= {name: classes} if len(classes) % m == 0 else {}
    return found


def _in_whole_stripes(classes: Tensor, m: int) -> bool:
    """Whether every M inputs belong to one node, so that no order of nodes changes what is kept."""
    stripes = classes.view(-1, m)
    return bool((stripes == stripes[:, :1]).all())


def better_columns(rows: Tensor, movable: Tensor, pattern: Pattern) -> Tensor:
    """The column to move to every place of rows (R, C), int64 (C,), so that N of every M keep more; others stay.

    `_MOST_ROWS` evenly spaced rows choose the swaps; if all rows together would not keep more, nothing moves.
    """
    n, m = pattern
    source = torch.arange(rows.shape[1])
    moves = torch.zeros(rows.shape[1], dtype=torch.bool).index_fill_(0, movable, True).tolist()
    some, stripes = rows[:: -(-len(rows) // _MOST_ROWS)], rows.shape[1] // m
    changes, seen = [0] * stripes, dict[tuple[int, int], tuple[int, int]]()
    for a, b in (pair for _ in range(_SWEEPS) for pair in combinations(range(stripes), 2)):
        if seen.get((a, b)) == (changes[a], changes[b]):
            continue
        places = [*range(a * m, (a + 1) * m), *range(b * m, (b + 1) * m)]
        swaps = [(i, j) for i in range(m) for j in range(m, 2 * m) if moves[places[i]] and moves[places[j]]]
        found = _best_swap(some[:, source[places]], swaps, n, m)
        if found is None:
            seen[a, b] = changes[a], changes[b]
        else:
            pair = [places[found[0]], places[found[1]]]
            source[pair] = source[pair[::-1]]
            changes[a], changes[b] = changes[a] + 1, changes[b] + 1
    better = _kept(rows[:, source], n, m) > _kept(rows, n, m)
    return source if better else torch.arange(rows.shape[1])


def _kept(rows: Tensor, n: int, m: int) -> float:
    """The sum of the N largest of every M columns."""
    return float(rows.reshape(len(rows), -1, m).double().sort(-1, descending=True).values[..., :n].sum())


def _best_swap(pair: Tensor, swaps: list[tuple[int, int]], n: int, m: int) -> tuple[int, int] | None:
    """The best swap of two columns of a pair of stripes (R, 2 M); None if no swap keeps more."""
    if not swaps:
        return None
    orders = torch.arange(2 * m).repeat(len(swaps) + 1, 1)
    for row, (i, j) in zip(orders[1:], swaps, strict=True):
        row[i], row[j] = j, i
    split = pair[:, orders].view(len(pair), len(orders), 2, m)
    kept = split.double().sort(-1, descending=True).values[..., :n].sum((0, 2, 3))
    best = int(kept.argmax())
    return None if kept[best] <= kept[0] * (1 + 1e-9) else swaps[best - 1]
