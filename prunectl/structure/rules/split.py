"""Operations that split a tensor into pieces."""

from typing import TYPE_CHECKING

import torch
from torch import fx

from prunectl.structure.labels import Value
from prunectl.structure.operations import Arguments, Liveness, Result, operation
from prunectl.structure.propagation import Propagation, index_rows
from prunectl.structure.rules.move import move

if TYPE_CHECKING:
    from prunectl.structure.surgery.edits import Edits
    from prunectl.structure.surgery.graph_writer import Emitter


def _write(em: "Emitter", node: fx.Node, a: Arguments) -> fx.Node | None:
    """Pieces with their new sizes."""
    x, axis = em.flow.value(a["self"]), a["dim"]
    if em.kept(x.rows[axis]) is None:
        return None
    sizes = [em.size(piece, axis) for piece in em.flow.values[node]]
    return em.call(torch.ops.aten.split_with_sizes.default, a["self"], sizes, axis)


def _edit(edits: "Edits", node: fx.Node, a: Arguments) -> None:
    edits.set_sizes(node)


@operation("split", liveness=Liveness.PASSES, writer=_write, editor=_edit)
@operation("chunk", liveness=Liveness.PASSES, writer=_write)
@operation("tensor_split", writer=_write)
def split(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Equal pieces stay equal: the network's own code computes where to split."""
    pieces = move(flow, node, a)
    assert isinstance(pieces, list)
    _tie(flow, pieces)
    return pieces


def _edit_given(edits: "Edits", node: fx.Node, a: Arguments) -> None:
    """Also edit the list of sizes, if the owner has it as an attribute."""
    edits.set_sizes(node)
    now = [edits.size(value, a["dim"]) for value in edits.flow.tensors_of(node)]
    for attribute, given in list(vars(edits.module_of(node)).items()):
        if isinstance(given, list | tuple) and list(given) == list(a["split_sizes"]):
            edits.set(node, attribute, given, now)


@operation("split_with_sizes", liveness=Liveness.PASSES, writer=_write, editor=_edit_given)
def split_with_sizes(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Pieces of given sizes; equal ones stay equal."""
    pieces = move(flow, node, a)
    assert isinstance(pieces, list)
    if len({piece.shape for piece in pieces}) == 1:
        _tie(flow, pieces)
    return pieces


@operation("unbind", liveness=Liveness.PASSES)
@operation("unsafe_split", "unsafe_chunk", writer=_write)
@operation("hsplit", "vsplit")
def pieces_apart(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Pieces that may lose different numbers of nodes."""
    return move(flow, node, a)


@operation("getitem", liveness=Liveness.PASSES)
def piece(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """One of the results of an operation."""
    several, number = node.args
    found = flow.values.get(several)  # type: ignore[arg-type]
    return found[number] if isinstance(found, list) else None  # type: ignore[index]


def _tie(flow: Propagation, pieces: list[Value]) -> None:
    for axis, row in index_rows(pieces[0]):
        for other in pieces[1:]:
            there = other.rows[axis] if axis < len(other.rows) else None
            if there is not None and len(there) == len(row):
                flow.labels.unify(row, there)
