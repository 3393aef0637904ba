"""Operations that move entries: the operation itself is run on positions, and shows where each of them goes."""

from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, fx

from prunectl.structure.export import bind, packet
from prunectl.structure.labels import Row, Value
from prunectl.structure.propagation import Arguments, Propagation, Result, index_rows, rule


@rule("view", "reshape", "flatten", "unflatten", "permute", "transpose", "t", "swapaxes", "movedim", "unsqueeze")
@rule("squeeze", "slice", "select", "narrow", "repeat", "tile", "flip", "unfold")
@rule("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "split", "split_with_sizes", "chunk", "unbind")
@rule("tensor_split", "_unsafe_view", "_reshape_alias", "unsafe_split", "unsafe_chunk", "swapdims", "view_as", "mT")
@rule("reshape_as", "im2col", "numpy_T", "matrix_H", "adjoint", "diagonal", "moveaxis", "hsplit", "vsplit")
def move(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Where positions along one axis end up along one axis, their labels go along; where along several, one is kept."""
    source = flow.value(node.args[0])
    if any(isinstance(size, fx.Node) and size not in flow.known for size in _rest(flow, node)):
        return flow.stop(node, "moved by what depends on the image")
    results = [Value.plain(shape, source.image) for shape in flow.shapes(node)]
    for axis, row in index_rows(source):
        for i, found in enumerate(moved(flow, node, source.shape, axis)):
            results[i] = _placed(flow, node, results[i], found, row, source.zero[axis])
    if packet(node) in ("chunk", "split", "tensor_split") or _is_even(results, node):
        _tie_pieces(flow, results)
    return results[0] if isinstance(node.meta["val"], Tensor) else results


@rule("expand", "expand_as")
def expand(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """An axis that repeats one entry may have any length: it gets labels, which become those of what it meets."""
    source = flow.value(node.args[0])
    found = move(flow, node, a)
    assert isinstance(found, Value)
    rows = list(found.rows)
    for axis, size in enumerate(found.shape):
        before = axis - len(found.shape) + len(source.shape)
        if size > 1 and (before < 0 or source.shape[before] == 1):
            rows[axis] = flow.labels.fresh(size)
    return Value(found.shape, tuple(rows), found.zero, found.image)


@rule("roll", "repeat_interleave")
def roll(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """An axis along which entries are shifted or repeated stays; all others pass."""
    source = flow.value(node.args[0])
    axes = flow.number(a["dims"] if packet(node) == "roll" else a.get("dim"))
    for axis in [axes] if isinstance(axes, int) else axes or range(len(source.shape)):
        flow.freeze(source.rows[axis], node, "shifted or repeated along it")
    return move(flow, node, a)


def _rest(flow: Propagation, node: fx.Node) -> list[fx.Node]:
    """The nodes among an operation's arguments, but the tensor that is moved and one that only lends its shape."""
    like = packet(node).endswith("_as")
    return [] if like else [n for n in node.all_input_nodes if n is not node.args[0]]


def moved(flow: Propagation, node: fx.Node, shape: tuple[int, ...], axis: int) -> list[Tensor]:
    """Run an operation on a tensor that holds at every entry its position along `axis`."""
    ones = [1] * len(shape)
    ones[axis] = shape[axis]
    dtype = torch.float64 if packet(node) in ("im2col", "unfold") else torch.int64
    positions = torch.arange(shape[axis], dtype=dtype).view(ones).expand(shape)
    if packet(node) in ("view", "_unsafe_view", "_reshape_alias", "view_as"):
        positions = positions.contiguous()
    if packet(node) == "im2col":
        return [_unfolded(run(flow, node, positions + 1)[0], over_sides=axis >= len(shape) - 2)]
    return run(flow, node, positions)


def _unfolded(found: Tensor, *, over_sides: bool) -> Tensor:
    """Positions, counted from 1, among which 0 is padding: a channel's is that of the places that are not padded."""
    channels = found if over_sides else found.amax(-1, keepdim=True).expand_as(found)
    return channels.clamp_min(1) - 1


def run(flow: Propagation, node: fx.Node, source: Tensor) -> list[Tensor]:
    """Run an operation on another first argument."""

    def concrete(argument: Any) -> Any:
        if argument is node.args[0]:
            return source
        if isinstance(argument, fx.Node):
            return flow.known[argument] if argument in flow.known else torch.empty(flow.shape(argument))
        if isinstance(argument, list | tuple):
            return [concrete(part) for part in argument]
        return argument

    made = node.target(*[concrete(x) for x in node.args], **{k: concrete(v) for k, v in node.kwargs.items()})  # type: ignore[operator]
    return [made.long()] if isinstance(made, Tensor) else [part.long() for part in made]


def axes_that_vary(found: Tensor) -> list[int]:
    """The axes along which a tensor is not constant."""
    return [d for d in range(found.ndim) if found.shape[d] > 1 and bool((found.narrow(d, 0, 1) != found).any())]


def _placed(flow: Propagation, node: fx.Node, value: Value, found: Tensor, row: Row, zero: bool) -> Value:
    """Put the labels of one input axis on the output, where `found` tells the position that every entry came from."""
    if not found.numel():
        return value
    axes = axes_that_vary(found)
    if not axes:
        flow.freeze(row[int(found.flatten()[0]) :][:1], node, "a single index is picked")
        return value
    compact = found[tuple(slice(None) if d in axes else 0 for d in range(found.ndim))].numpy()  # one axis for each
    kept = _axis_to_keep(flow, compact, row) if len(axes) > 1 else 0
    table = row[np.moveaxis(compact, kept, 0).reshape(compact.shape[kept], -1)]
    labels, axis = flow.labels.tie(table), axes[kept]
    there = value.rows[axis]
    if there is not None:  # two axes that both carry nodes are merged into one
        if flow.labels.count(there) >= flow.labels.count(labels):
            flow.freeze(labels, node, "merged with another axis that carries nodes")
            return value
        flow.freeze(there, node, "merged with another axis that carries nodes")
    rows = (*value.rows[:axis], labels, *value.rows[axis + 1 :])
    return Value(value.shape, rows, (*value.zero[:axis], zero, *value.zero[axis + 1 :]), value.image)


def _axis_to_keep(flow: Propagation, compact: np.ndarray[Any, Any], row: Row) -> int:
    """Of the axes that an axis is split into, the one that leaves most nodes apart; of equal ones the last."""
    roots, inverse = np.unique(flow.labels.find(row), return_inverse=True)
    best, most = 0, -1
    for axis in range(compact.ndim):
        places = np.broadcast_to(
            np.arange(compact.shape[axis]).reshape([-1 if d == axis else 1 for d in range(compact.ndim)]), compact.shape
        )
        size = compact.shape[axis] + len(roots)
        links = coo_array(
            (
                np.ones(compact.size, dtype=bool),
                (places.reshape(-1), compact.shape[axis] + inverse[compact.reshape(-1)]),
            ),
            shape=(size, size),
        )
        parts = connected_components(links, directed=False)[0]
        if parts >= most:
            best, most = axis, parts
    return best


def _is_even(results: list[Value], node: fx.Node) -> bool:
    """Whether a split into given sizes gives equal pieces."""
    return packet(node) == "split_with_sizes" and len({value.shape for value in results}) == 1


def _tie_pieces(flow: Propagation, results: list[Value]) -> None:
    """Equal pieces stay equal: the network's own code computes where to cut."""
    for axis, row in index_rows(results[0]):
        for other in results[1:]:
            there = other.rows[axis] if axis < len(other.rows) else None
            if there is not None and len(there) == len(row):
                flow.labels.unify(row, there)


@rule("index")
def index(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Picking by constant indices; an axis that is picked from stays whole, but where the indices are rewritten."""
    source = flow.value(a["self"])
    if any(isinstance(i, fx.Node) and i not in flow.known for i in a["indices"]):
        return flow.stop(node, "picked by what depends on the image")
    if picked(flow, node) is not None:
        return move(flow, node, a)
    indexed = _indexed_axes(flow, a["indices"])
    for axis in indexed:
        flow.freeze(source.rows[axis], node, "picked from by an index")
    rows = tuple(None if axis in indexed else row for axis, row in enumerate(source.rows))
    flow.values[node.args[0]] = Value(source.shape, rows, source.zero, source.image)  # type: ignore[index]
    return move(flow, node, a)


def picked(flow: Propagation, node: fx.Node) -> tuple[int, Tensor] | None:
    """The axis of an image's tensor that one row of constant positions picks from, and these; None for all else."""
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


@rule("index_select")
def index_select(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Picking along one axis."""
    if picked(flow, node) is None:
        flow.freeze(flow.value(a["self"]).rows[a["dim"]], node, "picked from by an index")
    return flow.stop(node) if a["index"] not in flow.known else move(flow, node, a)


@rule("embedding")
def embedding(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Lines of a table (N, C) by indices (...): all lines stay."""
    table, shape = flow.value(a["weight"]), flow.shape(node)
    flow.freeze(table.rows[0], node, "picked from by an index")
    indices = flow.tensors_of(a["indices"])
    for value in indices:
        flow.freeze(value, node, "indices to pick by")
    lead = len(shape) - 1
    image = table.image or any(value.image for value in indices)
    return Value(shape, (*(None,) * lead, table.rows[1]), (*(False,) * lead, table.zero[1]), image)
