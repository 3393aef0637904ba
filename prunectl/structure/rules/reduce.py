"""Sums, means, norms and softmax along axes."""

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from torch import Tensor, fx

from prunectl.structure import width_norms
from prunectl.structure.contraction import join
from prunectl.structure.export import packet
from prunectl.structure.labels import Row, Value
from prunectl.structure.operations import Arguments, Liveness, Result, operation
from prunectl.structure.propagation import Propagation
from prunectl.structure.rules.pointwise import pointwise

if TYPE_CHECKING:
    from prunectl.structure.surgery.graph_writer import Emitter

_EXACT = {"sum", "linalg_vector_norm", "norm", "mean", "frobenius_norm", "count_nonzero"}
"""Reductions that zeros do not change; a mean is taken over the original number of entries."""
_NOT_ZERO = {"softmax", "log_softmax", "_softmax", "logsumexp", "logcumsumexp", "prod", "argmax", "argmin"}
"""Reductions that do not map zeros along other axes to zeros."""
_WITH_INDICES = {"topk", "sort", "max", "min", "cummax", "cummin", "median", "kthvalue", "mode"}
_KEEPS_SHAPE = {"softmax", "log_softmax", "_softmax", "sort", "topk"}
_KEEPS_SHAPE |= {"cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"}


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
@operation("topk", "sort", "cumprod", "logcumsumexp", "cummax", "cummin", "median", "kthvalue", "mode")
@operation("nanmean", "nansum", "std_mean", "aminmax")
def reduce(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """A reduced axis may shrink if zeros change nothing; all others pass."""
    x, name = flow.value(node.args[0]), packet(node)
    if name in ("max", "min") and isinstance(node.args[1] if len(node.args) > 1 else None, fx.Node):
        return pointwise(flow, node, a)
    given = flow.number(a.get("dim"))
    axes = range(len(x.shape)) if given is None or given == [] else [given] if isinstance(given, int) else given
    over = {axis % len(x.shape) for axis in axes}
    for axis in over:
        _reduced(flow, node, x, axis)
    keeps = name in _KEEPS_SHAPE or bool(a.get("keepdim"))
    passes = name not in _NOT_ZERO
    rows: list[Row | None] = []
    zero = []
    for axis in range(len(x.shape)):
        if axis not in over or keeps:
            rows.append(None if axis in over else x.rows[axis])
            zero.append(axis not in over and passes and x.zero[axis])
    made = [Value(shape, tuple(rows), tuple(zero), x.image) for shape in flow.shapes(node)]
    if name in _WITH_INDICES:
        made[1:] = [replace(value, zero=(False,) * len(zero)) for value in made[1:]]
    return made[0] if isinstance(node.meta["val"], Tensor) else made


def _reduced(flow: Propagation, node: fx.Node, x: Value, axis: int) -> None:
    row = x.rows[axis]
    if row is None:
        return
    name = packet(node)
    if name not in _EXACT or not x.zero[axis]:
        flow.freeze(row, node, "reduced over, and removed entries would count")
    elif name == "mean":
        flow.wide.add(node)


@operation("diff", liveness=Liveness.PASSES)
def diff(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Neighbours along an axis are subtracted: it stays; along all others, the tensors put at its ends meet it."""
    parts, shape = flow.tensors_of([a["self"], a["prepend"], a["append"]]), flow.shape(node)
    over = flow.number(a["dim"]) % len(shape)
    rows: list[Row | None] = []
    for axis in range(len(shape)):
        if axis == over:
            for part in parts:
                flow.freeze(part.rows[axis], node, "neighbours along it are subtracted")
            rows.append(None)
        else:
            rows.append(join(flow, node, [part.rows[axis] for part in parts]))
    zero = tuple(axis != over and all(part.zero[axis] for part in parts) for axis in range(len(shape)))
    return Value(shape, tuple(rows), zero, any(part.image for part in parts))
