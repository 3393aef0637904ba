"""Convolutions: plain, grouped, depthwise, transposed."""

from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import fx

from prunectl.structure.contraction import contract
from prunectl.structure.export import bind, packet
from prunectl.structure.labels import Row, Value
from prunectl.structure.operations import Arguments, Liveness, Result, operation
from prunectl.structure.propagation import Propagation

if TYPE_CHECKING:
    from prunectl.structure.surgery.edits import Edits
    from prunectl.structure.surgery.graph_writer import Emitter


def _write(em: "Emitter", node: fx.Node, a: Arguments) -> fx.Node | None:
    """Fewer groups, if whole groups are removed; a constant weight loses theirs."""
    if node not in em.flow.whole_groups:
        return None
    x = em.flow.value(a["input"])
    changed = {"groups": em.size(x, 1) // (x.shape[1] // a["groups"])}
    left = em.kept((x if "transpose" in packet(node) else em.flow.value(node)).rows[1])
    if a["weight"] in em.flow.known and left is not None:
        places = em.constant(torch.from_numpy(left))
        changed["weight"] = em.call(torch.ops.aten.index_select.default, a["weight"], 0, places)
    return em.call(node.target, *({**a, **changed}).values())


def _edit(edits: "Edits", node: fx.Node, a: Arguments) -> None:
    """Fewer groups, if whole groups are removed."""
    if node in edits.flow.whole_groups:
        x = edits.flow.value(a["input"])
        edits.set(node, "groups", a["groups"], edits.size(x, 1) // (x.shape[1] // a["groups"]))


@operation("conv1d", "conv2d", "conv3d", liveness=Liveness.CONVOLUTION, writer=_write, editor=_edit)
@operation(
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    liveness=Liveness.TRANSPOSED,
    writer=_write,
    editor=_edit,
)
@operation("convolution", editor=_edit)
def convolution(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """(B, C, ...) with a weight (O, C / groups, ...), or (C, O / groups, ...) if it is transposed."""
    x, weight = flow.value(a["input"]), flow.value(a["weight"])
    transposed = "transpose" in str(node.target) or bool(a.get("transposed"))
    if len(x.shape) != len(weight.shape):
        return flow.stop(node, "a convolution of a single image")
    for axis in range(2, len(x.shape)):
        flow.freeze(x.rows[axis], node, "convolved over")
    for axis in range(2, len(weight.shape)):
        flow.freeze(weight.rows[axis], node, "the kernel's positions")
    x = Value(x.shape, (*x.rows[:2], *(None,) * (len(x.shape) - 2)), x.zero, x.image)
    groups = flow.number(a["groups"])
    if groups > 1:
        out = _grouped(flow, node, x, weight, groups, transposed)
    else:
        letters = "co" if transposed else "oc"
        flat = Value(x.shape[:2], x.rows[:2], x.zero[:2], x.image)
        kernel = Value(weight.shape[:2], weight.rows[:2], weight.zero[:2], weight.image)
        found = contract(flow, node, [(flat, "bc"), (kernel, letters)], "bo", _positions(flow, node, a, transposed))
        out = Value(flow.shape(node), (*found.rows[:2], *(None,) * (len(x.shape) - 2)), _wide(found.zero, x), x.image)
    return _biased(flow, node, out, a.get("bias"))


def _wide(zero: tuple[bool, ...], x: Value) -> tuple[bool, ...]:
    return (*zero[:2], *(False,) * (len(x.shape) - 2))


def _positions(flow: Propagation, node: fx.Node, a: Arguments, transposed: bool) -> int:
    """How often each weight of a kernel is used per image, times the size of the kernel."""
    where = flow.value(a["input"]).shape if transposed else flow.shape(node)
    return prod(where[2:]) * prod(flow.value(a["weight"]).shape[2:])


def _biased(flow: Propagation, node: fx.Node, out: Value, bias: fx.Node | None) -> Value:
    """Add the bias (O,)."""
    if bias is None:
        return out
    b, row = flow.value(bias), out.rows[1]
    if row is None or b.rows[0] is None:
        flow.freeze(b, node, "the bias of what stays")
        flow.freeze(row, node, "a bias that stays")
        return Value(out.shape, (out.rows[0], None, *out.rows[2:]), out.zero, out.image)
    flow.labels.unify(row, b.rows[0])
    return Value(out.shape, out.rows, (out.zero[0], out.zero[1] and b.zero[0], *out.zero[2:]), out.image)


def _grouped(flow: Propagation, node: fx.Node, x: Value, weight: Value, groups: int, transposed: bool) -> Value:
    """Depthwise convolutions pass channels on; others lose whole groups, or the same channels in every group."""
    inputs, outputs = x.shape[1], flow.shape(node)[1]
    into, out = inputs // groups, outputs // groups
    by_input, by_output = (weight.rows[0], weight.rows[1]) if transposed else (weight.rows[1], weight.rows[0])
    produced = by_output  # one label per output channel, or per output channel of a group if it is transposed
    whole = groups >= min(into, out)
    read_by = weight.rows[0] if whole else by_input
    if read_by is None and not (whole and bind(node)["weight"] in flow.known):  # the writer cuts constants
        flow.freeze(x.rows[1], node, "grouped by a weight that stays")
        x = Value(x.shape, (x.rows[0], None, *x.rows[2:]), x.zero, x.image)
    if x.rows[1] is None:
        flow.freeze(by_input, node, "reads channels that stay")
        flow.freeze(by_output, node, "grouped with channels that stay")
        row = None
    elif whole:
        row = _by_group(flow, node, x.rows[1], weight, groups, outputs, transposed)
        flow.whole_groups.add(node)
    else:
        read = flow.labels.tie(x.rows[1].reshape(groups, into).T)
        made = None
        if transposed:
            if by_input is not None:
                tied = flow.labels.tie(by_input.reshape(groups, into).T)
                flow.labels.unify(read, tied)
            if produced is not None:
                made = np.tile(produced, groups)
        else:
            if by_input is not None:
                flow.labels.unify(read, by_input)
            if produced is not None:
                tied = flow.labels.tie(produced.reshape(groups, out).T)
                made = np.tile(tied, groups)
        row = made
        if by_input is not None:
            flow.reads.append(by_input)
    zero = weight.zero[1] if transposed else weight.zero[0]
    rest = len(x.shape) - 2
    _note(flow, node, weight, row, groups, transposed)
    return Value(
        flow.shape(node), (None, row, *(None,) * rest), (False, zero, *(False,) * rest), x.image or weight.image
    )


def _by_group(
    flow: Propagation, node: fx.Node, read: Row, weight: Value, groups: int, outputs: int, transposed: bool
) -> Row:
    """One class per group: its input channels, its output channels and its part of the weight."""
    first = flow.labels.tie(read.reshape(groups, -1))
    if weight.rows[0] is not None:
        flow.labels.unify(first, flow.labels.tie(weight.rows[0].reshape(groups, -1)))
    flow.freeze(weight.rows[1], node, "grouped convolutions lose whole groups")
    return np.repeat(first, outputs // groups)


def _note(flow: Propagation, node: fx.Node, weight: Value, row: Row | None, groups: int, transposed: bool) -> None:
    """Count the multiplications: every weight once per position."""
    positions = prod((flow.value(node.args[0]).shape if transposed else flow.shape(node))[2:])
    rows = [r for r in weight.rows[:2] if r is not None]
    rest = prod(weight.shape) // prod(len(r) for r in rows)
    name = next((n for r in rows if (n := flow.name_of(r))), "")
    flow.products.append((name, positions * rest, rows))
