"""LSTM and GRU: a hidden unit whose weights are all zero stays at zero, so it can be removed."""

from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import fx

from prunectl.errors import StructureError
from prunectl.structure.contraction import join
from prunectl.structure.export import BATCH
from prunectl.structure.labels import Row, Value
from prunectl.structure.operations import Arguments, Result, operation
from prunectl.structure.propagation import Propagation

if TYPE_CHECKING:
    from prunectl.structure.surgery.graph_writer import Emitter

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def _write(em: "Emitter", node: fx.Node, a: Arguments) -> fx.Node:
    """The first states, which are zero, in the new width of the hidden layer."""
    units = {em.size(em.flow.value(p), 1) for p in a["params"][1 :: 4 if a["has_biases"] else 2]}
    if len(units) > 1:
        raise StructureError("the layers of a recurrent network have different widths")
    states = a["hx"] if isinstance(a["hx"], list | tuple) else [a["hx"]]
    cut = [em.call(torch.ops.aten.slice.Tensor, state, -1, 0, units.copy().pop()) for state in states]
    hx = cut if isinstance(a["hx"], list | tuple) else cut[0]
    return em.call(node.target, a["input"], hx, *list(a.values())[2:])


@operation("lstm", "gru", "rnn_tanh", "rnn_relu", writer=_write)
def recurrent(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """(B, T, I) with weights (gates H, I) and (gates H, H): the gates of a unit are one node."""
    kind = next(name for name in _GATES if f"aten.{name}." in str(node.target))
    x = flow.value(a["input"])
    directions = 2 if a["bidirectional"] else 1
    parameters = [flow.value(p) for p in a["params"]]
    each = 4 if a["has_biases"] else 2
    states = a["hx"] if isinstance(a["hx"], list | tuple) else [a["hx"]]
    if x.labelled not in ([], [len(x.shape) - 1]) or len(parameters) != each * directions * a["num_layers"]:
        return flow.stop(node, "a recurrent layer over another axis, or with projections")
    if any(s not in flow.known or bool(flow.known[s].any()) for s in states):
        return flow.stop(node, "a recurrent layer whose first state is not zero")
    read = {part.args[1] for part in node.users if part.users}
    if read != {0} and flow.shapes(node)[1:] != [tuple(flow.known[s].shape) for s in states]:
        return flow.stop(node, "a last state of an LSTM, whose shape torch 2.11 reports wrongly")
    row, steps = x.rows[-1], prod(x.shape[:-1]) // BATCH
    units: list[Row] = []
    for layer in range(a["num_layers"]):
        made: list[Row] = []
        for direction in range(directions):
            start = (layer * directions + direction) * each
            made.append(_cell(flow, node, row, parameters[start : start + each], _GATES[kind], steps))
            units.append(made[-1])
        row = np.concatenate(made)
    for other in units[1:]:  # torch has one width for all layers and directions
        flow.labels.unify(units[0], other)
    rows = (*(None,) * (len(x.shape) - 1), row)
    out = [Value(flow.shapes(node)[0], rows, (*(False,) * (len(x.shape) - 1), True), x.image)]
    last = (None, None, units[0])  # (layers x directions, B, H), also of the cells of an LSTM
    return out + [
        Value(shape, last[-len(shape) :], (False, False, True)[-len(shape) :]) for shape in flow.shapes(node)[1:]
    ]


def _cell(flow: Propagation, node: fx.Node, row: Row | None, parameters: list[Value], gates: int, steps: int) -> Row:
    """One layer in one direction; returns the labels of its hidden units."""
    into, again = parameters[:2]
    units = again.shape[1]
    tied = [flow.labels.tie(v.rows[0].reshape(gates, units).T) for v in parameters if v.rows[0] is not None]
    hidden = again.rows[1]
    assert hidden is not None
    for other in tied:
        flow.labels.unify(hidden, other)
    join(flow, node, [row, into.rows[1]])
    flow.reads += [r for r in (into.rows[1], hidden) if r is not None]
    for v in (into, again):
        flow.products.append(("", steps, [r for r in v.rows if r is not None]))
    return hidden
