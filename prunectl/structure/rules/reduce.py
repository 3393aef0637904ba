"""Sums, means, norms and softmax along axes."""

from math import prod
from typing import TYPE_CHECKING

from torch import Tensor, fx

from prunectl.structure import width_norms
from prunectl.structure.export import packet
from prunectl.structure.labels import Row, Value
from prunectl.structure.operations import Arguments, Liveness, Result, operation
from prunectl.structure.propagation import Propagation
from prunectl.structure.rules.pointwise import pointwise

if TYPE_CHECKING:
    from prunectl.structure.surgery.graph_writer import Emitter

_EXACT = {"sum", "linalg_vector_norm", "norm", "mean", "frobenius_norm", "count_nonzero"}
"""Zeros do not change these; a mean is taken over the original number of entries."""
_KEEPS_SHAPE = {"softmax", "log_softmax", "_softmax", "cumsum", "sort", "topk", "logcumsumexp"}


def _write_mean(em: "Emitter", node: fx.Node, a: Arguments) -> fx.Node | None:
    """A mean over the original number of entries."""
    if em.alive or node not in em.flow.wide:
        return None
    x, given = em.flow.value(a["self"]), a.get("dim")
    axes = tuple(range(len(x.shape))) if given in (None, []) else tuple([given] if isinstance(given, int) else given)
    if all(em.kept(x.rows[axis]) is None for axis in axes):
        return None
    return em.call(width_norms.mean, a["self"], axes, prod(x.shape[axis] for axis in axes), bool(a.get("keepdim")))


@operation("mean", liveness=Liveness.REDUCES, writer=_write_mean)
@operation("sum", "amax", liveness=Liveness.REDUCES)
@operation("amin", "max", "min", "var", "std", "var_mean", "linalg_vector_norm", "norm", "frobenius_norm", "prod")
@operation("any", "all", "argmax", "argmin", "logsumexp", "softmax", "log_softmax", "_softmax", "cumsum")
@operation("topk", "sort")
def reduce(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """An axis that is reduced may shrink where zeros change nothing; all others pass."""
    x, name = flow.value(node.args[0]), packet(node)
    if name in ("max", "min") and isinstance(node.args[1] if len(node.args) > 1 else None, fx.Node):
        return pointwise(flow, node, a)
    given = flow.number(a.get("dim"))
    axes = range(len(x.shape)) if given is None or given == [] else [given] if isinstance(given, int) else given
    over = {axis % len(x.shape) for axis in axes}
    for axis in over:
        _reduced(flow, node, x, axis)
    keeps = name in _KEEPS_SHAPE or bool(a.get("keepdim"))
    passes = name not in ("softmax", "log_softmax", "_softmax", "logsumexp", "prod", "argmax", "argmin")
    rows: list[Row | None] = []
    zero = []
    for axis in range(len(x.shape)):
        if axis not in over or keeps:
            rows.append(None if axis in over else x.rows[axis])
            zero.append(axis not in over and passes and x.zero[axis])
    made = [Value(shape, tuple(rows), tuple(zero), x.image) for shape in flow.shapes(node)]
    return made[0] if isinstance(node.meta["val"], Tensor) else made


def _reduced(flow: Propagation, node: fx.Node, x: Value, axis: int) -> None:
    row = x.rows[axis]
    if row is None:
        return
    name = packet(node)
    if name not in _EXACT or not x.zero[axis]:
        flow.freeze(row, node, "reduced over, and what is removed would count")
    elif name == "mean":
        flow.wide.add(node)
