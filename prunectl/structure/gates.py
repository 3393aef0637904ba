"""Gates: a factor c = 1 on every node, and the parts of the weights that it multiplies."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from prunectl.scores import Scores
from prunectl.structure.nodes import FROZEN, Structure

Axis = tuple[str, int]
OfRows = Callable[[Tensor], Tensor]
"""Maps slices of a tensor as rows (n, d) to one value each, (n,)."""


def _row_sums(rows: Tensor) -> Tensor:
    return rows.sum(1)


def gated(structure: Structure, model: nn.Module) -> set[str]:
    """The names of the parameters that `at_gates` reads."""
    unread = ~_present(structure, _consumers(structure, model))
    unread[FROZEN] = False
    made = [key for key in producers(structure, model) if unread[structure.axes[key]].any()]
    return {name for name, _ in [*_consumers(structure, model), *made]}


def at_gates(structure: Structure, model: nn.Module, values: Mapping[str, Tensor]) -> Tensor:
    """Sum dL/dθ · θ to dL/dc · c for every node, float32 (nodes,), on the cpu.

    The gate is where weights read the node: it multiplies their inputs by c, so its value is the sum over the node's
    slices of all readers. A node that no weight reads (the queries and keys of attention) has its gate after the
    weights and biases that output it. `values` holds the parameters that `gated` names.
    """
    readers = _consumers(structure, model)
    read = _sums(structure, readers, values)
    made = _sums(structure, [key for key in producers(structure, model) if key[0] in values], values)
    return torch.where(_present(structure, readers), read, made)[:FROZEN].float()


def gate_axes(structure: Structure, model: nn.Module) -> dict[Axis, Tensor]:
    """Where the gates of `at_gates` multiply: the class of every index on an axis, FROZEN if no gate acts."""
    read = _present(structure, _consumers(structure, model))
    read[FROZEN] = True
    axes = {key: structure.axes[key] for key in _consumers(structure, model)}
    for key in producers(structure, model):
        classes = structure.axes[key]
        if not read[classes].all():
            axes[key] = classes.masked_fill(read[classes], FROZEN)
    return axes


def at_filters(
    structure: Structure, model: nn.Module, values: Mapping[str, Tensor], of_rows: OfRows = _row_sums
) -> Scores:
    """Score nodes by the sum of `values`, tensors like prunable weights, over a node's filters.

    `of_rows` may replace the sum over each filter. Nodes without filters (the channels of an image) are scored by the
    weights that read them.
    """
    made = [key for key in producers(structure, model) if key[0] in values]
    read = [key for key in _consumers(structure, model) if key[0] in values]
    without = ~_present(structure, made)
    sums = _sums(structure, made, values, of_rows)
    if without[:FROZEN].any():
        sums = sums.where(~without, _sums(structure, read, values, of_rows))
    return above_where((without & ~_present(structure, read))[:FROZEN], sums[:FROZEN].float())


def at_members(structure: Structure, model: nn.Module, values: Mapping[str, Tensor]) -> Tensor:
    """The sum of `values`, tensors like parameters, over all slices of a node: float32 (nodes,).

    A parameter that has a node on two axes counts on both.
    """
    parameters = {name for name, _ in model.named_parameters()} & values.keys()
    own = [key for key in structure.axes if key[0] in parameters]
    return _sums(structure, own, values)[:FROZEN].float()


def above_where(lacking: Tensor, scores: Tensor) -> Scores:
    """Scores above all others for nodes that a criterion does not score, so that they are pruned last."""
    return Scores(nodes=scores.where(~lacking, 2 * scores.abs().max() + 1), unscored=lacking)


def producers(structure: Structure, model: nn.Module) -> list[Axis]:
    """The axes along which weights (2 dims or more) output nodes or pass them on, and the axes of their biases."""
    parameters = dict(model.named_parameters())
    made = [key for key in structure.axes if key[0] in parameters and key not in structure.consumers]
    weights = [key for key in made if parameters[key[0]].ndim > 1]
    owners = {name.rpartition(".")[0] for name, _ in weights}
    biases = [key for key in made if parameters[key[0]].ndim == 1 and key[0].rpartition(".")[0] in owners]
    return [*weights, *biases]


def _consumers(structure: Structure, model: nn.Module) -> list[Axis]:
    """The axes through which parameters read nodes, in a fixed order."""
    names = {name for name, _ in model.named_parameters()}
    return sorted(key for key in structure.consumers if key[0] in names and key in structure.axes)


def _present(structure: Structure, axes: Iterable[Axis]) -> Tensor:
    """Which classes are on any of the axes: bool (nodes + 1,); the last entry is for FROZEN."""
    found = torch.zeros(structure.nodes + 1, dtype=torch.bool)
    for key in axes:
        found[structure.axes[key]] = True
    return found


def _sums(
    structure: Structure, axes: Iterable[Axis], values: Mapping[str, Tensor], of_rows: OfRows = _row_sums
) -> Tensor:
    """The sum of `of_rows` of `values` over the slices of every class, float64 (nodes + 1,)."""
    total = torch.zeros(structure.nodes + 1, dtype=torch.float64)
    for name, axis in axes:
        classes = structure.axes[name, axis]
        if (classes == FROZEN).all():
            continue
        slices = of_rows(values[name].movedim(axis, 0).reshape(len(classes), -1))
        total.index_add_(0, classes % len(total), slices.cpu().double())  # FROZEN, -1, is the last
    return total
