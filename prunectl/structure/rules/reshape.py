"""Operations that change the shape and keep the entries."""

import operator
from typing import TYPE_CHECKING, Any

from torch import fx

from prunectl.structure.labels import Value
from prunectl.structure.operations import Arguments, Liveness, Result, operation
from prunectl.structure.propagation import Propagation
from prunectl.structure.rules.move import move

if TYPE_CHECKING:
    from prunectl.structure.surgery.edits import Edits
    from prunectl.structure.surgery.graph_writer import Emitter


def _write(em: "Emitter", node: fx.Node, a: Arguments) -> fx.Node:
    """A list of sizes, one for every axis of the result."""
    key = next(k for k in ("size", "shape") if k in a)
    out = em.flow.value(node)
    sizes = [_resized(em, given, out, axis) for axis, given in enumerate(a[key])]
    return em.call(node.target, a["self"], sizes, **node.kwargs)


def _write_unflatten(em: "Emitter", node: fx.Node, a: Arguments) -> fx.Node:
    out, x = em.flow.value(node), em.flow.value(a["self"])
    first = a["dim"] % len(x.shape)
    sizes = [_resized(em, given, out, first + i) for i, given in enumerate(a["sizes"])]
    return em.call(node.target, a["self"], a["dim"], sizes)


def _resized(em: "Emitter", given: Any, out: Value, axis: int) -> Any:
    """The new size in a list of sizes, also if it was computed from the batch."""
    now, was = em.size(out, axis), out.shape[axis]
    if now == was or (isinstance(given, int) and given == -1):
        return given
    if isinstance(given, fx.Node):
        return em.call(operator.floordiv, em.call(operator.mul, given, now), was)
    return now


def _edit(edits: "Edits", node: fx.Node, a: Arguments) -> None:
    edits.set_sizes(node)


@operation("view", "reshape", liveness=Liveness.PASSES, writer=_write, editor=_edit)
@operation("unflatten", liveness=Liveness.PASSES, writer=_write_unflatten, editor=_edit)
@operation("flatten", "unsqueeze", "squeeze", liveness=Liveness.PASSES)
@operation("_unsafe_view", writer=_write)
@operation("_reshape_alias", "view_as", "reshape_as")
def reshape(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Axes are split, merged, added or dropped."""
    return move(flow, node, a)


@operation("expand", liveness=Liveness.PASSES, writer=_write, editor=_edit)
@operation("broadcast_to", writer=_write, editor=_edit)
@operation("expand_as", liveness=Liveness.PASSES)
def expand(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """An axis that repeats one entry may have any length: it gets labels, which join those of the axes it meets."""
    source = flow.value(node.args[0])
    found = move(flow, node, a)
    assert isinstance(found, Value)
    rows = list(found.rows)
    for axis, size in enumerate(found.shape):
        before = axis - len(found.shape) + len(source.shape)
        if size > 1 and (before < 0 or source.shape[before] == 1):
            rows[axis] = flow.labels.fresh(size)
    return Value(found.shape, tuple(rows), found.zero, found.image)
