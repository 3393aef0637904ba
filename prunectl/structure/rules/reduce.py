"""Sums, means, norms and softmax along axes."""

from torch import Tensor, fx

from prunectl.structure.export import packet
from prunectl.structure.labels import Row, Value
from prunectl.structure.propagation import Arguments, Propagation, Result, rule
from prunectl.structure.rules.pointwise import pointwise

_EXACT = {"sum", "linalg_vector_norm", "norm", "mean", "frobenius_norm", "count_nonzero"}
"""Zeros do not change these; a mean is taken over the original number of entries."""
_KEEPS_SHAPE = {"softmax", "log_softmax", "_softmax", "cumsum", "sort", "topk", "logcumsumexp"}


@rule(
    "sum", "mean", "amax", "amin", "max", "min", "var", "std", "var_mean", "linalg_vector_norm", "norm", "prod", "any"
)
@rule(
    "all",
    "argmax",
    "argmin",
    "logsumexp",
    "softmax",
    "log_softmax",
    "_softmax",
    "cumsum",
    "frobenius_norm",
    "topk",
    "sort",
)
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
