"""Operations that pick entries: by a range, a number, or a tensor of indices."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx

from prunectl.errors import StructureError
from prunectl.structure.export import bind, packet
from prunectl.structure.labels import Value
from prunectl.structure.operations import Arguments, Impossible, Liveness, Result, operation
from prunectl.structure.propagation import Propagation
from prunectl.structure.rules.move import move

if TYPE_CHECKING:
    from prunectl.structure.surgery.edits import Edits
    from prunectl.structure.surgery.graph_writer import Emitter

aten = torch.ops.aten


def _write_range(em: "Emitter", node: fx.Node, a: Arguments) -> fx.Node | None:
    """The range of the picked indices among the remaining ones."""
    x, axis = em.flow.value(a["self"]), a["dim"]
    left = em.kept(x.rows[axis])
    if left is None:
        return None
    start = a["start"] or 0
    end = start + a["length"] if packet(node) == "narrow" else a["end"]
    chosen = np.arange(x.shape[axis])[slice(start, end, a.get("step", 1))]
    places = np.flatnonzero(np.isin(left, chosen))
    if len(places) and places[-1] - places[0] + 1 == len(places):
        return em.call(aten.slice.Tensor, a["self"], axis, int(places[0]), int(places[-1]) + 1)
    if any(packet(user) == "zero" for user in node.users):
        raise StructureError(f"a strided part of an axis is set to zero: {node}")
    return em.call(aten.index_select.default, a["self"], axis, em.constant(torch.from_numpy(places)))


@operation("slice", "narrow", liveness=Liveness.PASSES, writer=_write_range)
def pick_range(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """A range of an axis, also with steps."""
    return move(flow, node, a)


def _write_select(em: "Emitter", node: fx.Node, a: Arguments) -> fx.Node | None:
    """The position of the picked index among the remaining ones."""
    x = em.flow.value(a["self"])
    left = em.kept(x.rows[a["dim"]])
    if left is None:
        return None
    wanted = a["index"] % x.shape[a["dim"]]
    return em.call(node.target, a["self"], a["dim"], int(np.flatnonzero(left == wanted)[0]))


@operation("select", liveness=Liveness.PASSES, writer=_write_select)
def select(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """A single index of an axis, which stays."""
    return move(flow, node, a)


def _write_index(em: "Emitter", node: fx.Node, a: Arguments) -> fx.Node | None:
    """Positions among the remaining indices."""
    axis, positions = _picked(em.flow, node) or (0, None)
    left, out = em.kept(em.flow.value(a["self"]).rows[axis]), em.kept(em.flow.value(node).rows[axis])
    if positions is None or left is None:
        return None
    places = np.searchsorted(left, positions.numpy()[slice(None) if out is None else out])
    return em.call(aten.index_select.default, a["self"], axis, em.constant(torch.from_numpy(places)))


def _edit_index(edits: "Edits", node: fx.Node, a: Arguments) -> None:
    """Refuse an axis that shrinks: the module's code would pick by the old positions."""
    found = _picked(edits.flow, node)
    if found and edits.kept(edits.flow.value(a["self"]).rows[found[0]]) is not None:
        raise Impossible


@operation("index", liveness=Liveness.PASSES, writer=_write_index, editor=_edit_index)
def index(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Picking by constant indices; the axis stays whole, unless the indices are rewritten."""
    source = flow.value(a["self"])
    if any(isinstance(i, fx.Node) and i not in flow.known for i in a["indices"]):
        return flow.stop(node, "picked by values that depend on the image")
    if _picked(flow, node) is not None:
        return move(flow, node, a)
    indexed = _indexed_axes(flow, a["indices"])
    for axis in indexed:
        flow.freeze(source.rows[axis], node, "picked from by an index")
    rows = tuple(None if axis in indexed else row for axis, row in enumerate(source.rows))
    flow.values[node.args[0]] = Value(source.shape, rows, source.zero, source.image)  # type: ignore[index]
    return move(flow, node, a)


@operation("index_select", liveness=Liveness.PASSES, writer=_write_index, editor=_edit_index)
def index_select(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Picking along one axis."""
    if _picked(flow, node) is None:
        flow.freeze(flow.value(a["self"]).rows[a["dim"]], node, "picked from by an index")
    return flow.stop(node) if a["index"] not in flow.known else move(flow, node, a)


def _picked(flow: Propagation, node: fx.Node) -> tuple[int, Tensor] | None:
    """The axis from which one row of constant positions picks, and the positions; None in all other cases."""
    a = bind(node)
    given = [a["index"]] if packet(node) == "index_select" else [i for i in a["indices"] if i is not None]
    positions, x = flow.known.get(given[0]), flow.value(a["self"])
    if len(given) > 1 or not x.image or not isinstance(positions, Tensor) or positions.ndim != 1:
        return None
    axis = a["dim"] % len(x.shape) if packet(node) == "index_select" else a["indices"].index(given[0])
    return None if positions.dtype == torch.bool else (axis, positions % x.shape[axis])


def _indexed_axes(flow: Propagation, indices: list[Any]) -> list[int]:
    """The axes that index tensors pick from; a boolean one spans several."""
    axes: list[int] = []
    axis = 0
    for entry in indices:
        tensor = flow.known[entry] if isinstance(entry, fx.Node) else None
        span = tensor.ndim if isinstance(tensor, Tensor) and tensor.dtype == torch.bool else 1
        if tensor is not None:
            axes += range(axis, axis + span)
        axis += span
    return axes


@operation("embedding")
def embedding(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Rows of a table (N, C) by indices (...): all rows stay."""
    table, shape = flow.value(a["weight"]), flow.shape(node)
    flow.freeze(table.rows[0], node, "picked from by an index")
    indices = flow.tensors_of(a["indices"])
    for value in indices:
        flow.freeze(value, node, "indices to pick by")
    lead = len(shape) - 1
    image = table.image or any(value.image for value in indices)
    return Value(shape, (*(None,) * lead, table.rows[1]), (*(False,) * lead, table.zero[1]), image)
