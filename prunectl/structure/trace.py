"""Finds the nodes of a network: exports it, propagates labels through the graph, and numbers equal ones."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

import prunectl.structure.rules  # noqa: F401  (fills the table)
from prunectl.errors import StructureError
from prunectl.structure.export import Graph, export
from prunectl.structure.graphs import graph_of
from prunectl.structure.labels import Labels, Reason, Row
from prunectl.structure.nodes import FROZEN, Product, Structure
from prunectl.structure.propagation import Propagation


@dataclass(frozen=True, eq=False)
class Analysis:
    """A structure with the passes that found it: `number[label]` is the class of each label."""

    structure: Structure
    flow: Propagation
    number: Tensor


def trace(model: nn.Module, shape: tuple[int, int, int], *, outer: bool = False) -> Structure:
    """Find the nodes of a network that takes images (B, C, H, W) of this shape; with `outer`, also those of the image.

    Raises:
        StructureError: the network cannot be traced; the error names the place.
    """
    return analyse(model, shape, outer=outer).structure


def analyse(model: nn.Module, shape: tuple[int, int, int], *, outer: bool = False, lines: bool = False) -> Analysis:
    """As `trace`, but with intermediate results; with `lines`, reasons have the line of the network's source.

    Parameters that are used only in training (auxiliary heads) also couple what they read.
    """
    exported = export if lines else graph_of
    graph, tensors = exported(model, shape), named_tensors(model)
    labels, axes = Labels(), dict[tuple[str, int], Row]()
    try:
        flow = follow(graph, tensors, labels, axes, outer=outer)
        if _unreached(flow.graph, tensors):
            follow(exported(model, shape, training=True), tensors, labels, axes, outer=outer)
    except StructureError:
        if lines:
            raise
        return analyse(model, shape, outer=outer, lines=True)  # raises the same with the line
    return _numbered(model, flow, labels, axes)


def follow(
    graph: Graph, tensors: dict[str, Tensor], labels: Labels, axes: dict[tuple[str, int], Row], *, outer: bool = False
) -> Propagation:
    """Propagate labels through a graph."""
    flow = Propagation(graph, tensors, labels, axes, outer)
    flow.run()
    return flow


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by every name it has."""
    return dict([*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)])


def _unreached(graph: Graph, tensors: dict[str, Tensor]) -> bool:
    """Whether the graph does not use some parameter."""
    used = {name for node, name in graph.names.items() if node.users}
    reached = {id(tensors[name]) for name in used}
    return any(isinstance(t, nn.Parameter) and id(t) not in reached for t in tensors.values())


def _numbered(model: nn.Module, flow: Propagation, labels: Labels, axes: dict[tuple[str, int], Row]) -> Analysis:
    """Number the classes of removable labels, in the order of the network's parameters."""
    roots = labels.find(np.arange(labels.used, dtype=np.int64))
    number = np.full(labels.used, FROZEN, dtype=np.int64)
    parameters = dict(model.named_parameters())
    own = [row for (name, _), row in axes.items() if name in parameters or not name]
    seen = labels.find(np.concatenate([np.zeros(0, dtype=np.int64), *own]))
    _, first = np.unique(seen, return_index=True)
    order = seen[np.sort(first)]
    order = order[labels.reason_of[order] == 0]
    number[order] = np.arange(len(order))
    number = number[roots]
    classes = torch.from_numpy(number)
    aliases = _aliases(model)
    found = {(name, axis): classes[row] for (name, axis), row in axes.items() if name}
    found |= {(other, axis): found[name, axis] for name, axis in list(found) for other in aliases.get(name, ())}
    structure = Structure(
        axes=found,
        nodes=len(order),
        consumers=frozenset(_axis_of(flow, row) for row in flow.reads),
        products=tuple(
            Product(name, factor, tuple(classes[row] for row in rows)) for name, factor, rows in flow.products
        ),
        image=classes[axes["", 1]] if ("", 1) in axes else torch.tensor([FROZEN]),
        reasons=_reasons(labels, axes),
    )
    return Analysis(structure, flow, classes)


def _aliases(model: nn.Module) -> dict[str, list[str]]:
    """The other names of tied tensors, by the name that the graph uses."""
    by_identity: dict[int, list[str]] = {}
    for name, tensor in named_tensors(model).items():
        by_identity.setdefault(id(tensor), []).append(name)
    return {name: [n for n in names if n != name] for names in by_identity.values() for name in names if len(names) > 1}


def _axis_of(flow: Propagation, row: Row) -> tuple[str, int]:
    """The parameter's axis for which labels were made."""
    starts = np.array(sorted(flow.first))
    start = int(starts[np.searchsorted(starts, row[0], side="right") - 1])
    name, axis, _ = flow.first[start]
    return name, axis


def _reasons(labels: Labels, axes: dict[tuple[str, int], Row]) -> dict[tuple[str, int], Reason]:
    """Why an axis, or a part of it, stays."""
    found = {}
    for key, row in axes.items():
        reasons = labels.reason_of[labels.find(row)]
        if reasons.any():
            found[key] = labels.reasons[int(reasons[reasons > 0][0]) - 1]
    return found
