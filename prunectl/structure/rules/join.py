"""Operations that concatenate tensors."""

import numpy as np
from torch import fx

from prunectl.structure.contraction import join
from prunectl.structure.labels import Row, Value
from prunectl.structure.operations import Arguments, Liveness, Result, operation
from prunectl.structure.propagation import Propagation


@operation("cat", liveness=Liveness.PASSES)
@operation("concat", "concatenate")
def cat(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """The labels of the pieces, concatenated; along all other axes the pieces meet."""
    pieces = [value for value in flow.tensors_of(a["tensors"]) if value.shape != (0,)]
    shape = flow.shape(node)
    axis = flow.number(a["dim"]) % len(shape)
    rows: list[Row | None] = []
    zero = []
    for d in range(len(shape)):
        if d == axis:
            rows.append(_one_after_another(flow, node, pieces, axis))
            zero.append(all(v.zero[d] for v in pieces if v.rows[d] is not None))
        else:
            rows.append(join(flow, node, [v.rows[d] for v in pieces]) if shape[d] > 1 else None)
            zero.append(all(v.zero[d] for v in pieces))
    return Value(shape, tuple(rows), tuple(zero), any(v.image for v in pieces))


@operation("hstack", liveness=Liveness.PASSES)
def hstack(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Concatenated along the channels, or along the only axis."""
    return cat(flow, node, {**a, "dim": 1})


def _one_after_another(flow: Propagation, node: fx.Node, pieces: list[Value], axis: int) -> Row | None:
    """Concatenated labels; a piece without labels gets labels that stay."""
    if all(value.rows[axis] is None for value in pieces):
        return None
    parts = []
    for value in pieces:
        row = value.rows[axis]
        if row is None:
            row = staying(flow, node, value.shape[axis], "side by side with channels that stay")
        parts.append(row)
    return np.concatenate(parts)


def staying(flow: Propagation, node: fx.Node, count: int, why: str) -> Row:
    """Labels of indices that must stay."""
    row = flow.labels.fresh(count)
    flow.freeze(row, node, why)
    return row


@operation("stack", liveness=Liveness.PASSES)
def stack(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """The pieces are stacked along a new axis; along all others they meet."""
    pieces, shape = flow.tensors_of(a["tensors"]), flow.shape(node)
    axis = flow.number(a["dim"]) % len(shape)
    rows = [join(flow, node, [v.rows[d] for v in pieces]) for d in range(len(shape) - 1)]
    zero = [all(v.zero[d] for v in pieces) for d in range(len(shape) - 1)]
    rows.insert(axis, None)
    zero.insert(axis, False)
    return Value(shape, tuple(rows), tuple(zero), any(v.image for v in pieces))


@operation("pad", "constant_pad_nd", liveness=Liveness.PASSES)
def pad(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Padding with a constant adds indices that stay; reflecting a labelled axis is not followed."""
    x, amounts = flow.value(a["self"]), flow.number(a["pad"])
    value = a.get("value") or 0
    rows, zero = list(x.rows), list(x.zero)
    for i in range(len(amounts) // 2):
        axis, (before, after) = len(x.shape) - 1 - i, amounts[2 * i : 2 * i + 2]
        row = rows[axis]
        if row is None or (before, after) == (0, 0):
            continue
        if a.get("mode", "constant") != "constant" or before < 0 or after < 0:
            flow.freeze(row, node, "padded with copies, or cut")
            rows[axis] = None
            continue
        parts = [staying(flow, node, n, "padding") for n in (before, after)]
        rows[axis] = np.concatenate([parts[0], row, parts[1]])
        zero[axis] = zero[axis] and value == 0
    if value != 0:
        zero = [z and tuple(x.rows) == tuple(rows) and all(r is None for r in rows) for z in zero]
    return Value(flow.shape(node), tuple(rows), tuple(zero), x.image)
