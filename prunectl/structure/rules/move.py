"""Operations that move entries: running the operation on positions shows where each entry goes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from prunectl.structure.components import components
from prunectl.structure.export import packet
from prunectl.structure.labels import Row, Value
from prunectl.structure.operations import Arguments, Liveness, Result, operation
from prunectl.structure.propagation import Propagation, index_rows


@operation(
    *("permute", "transpose", "movedim", "repeat", "tile", "flip", "unfold", "im2col"),
    *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
    liveness=Liveness.PASSES,
)
@operation(
    *("t", "swapaxes", "swapdims", "moveaxis", "mT", "numpy_T", "matrix_H", "adjoint", "diagonal", "rot90"),
)
def move(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Labels follow the entries; an axis that is split into several keeps its labels on one of them."""
    source = flow.value(node.args[0])
    if any(isinstance(size, fx.Node) and size not in flow.known for size in _rest(flow, node)):
        return flow.stop(node, "moved by values that depend on the image")
    results = [Value.plain(shape, source.image) for shape in flow.shapes(node)]
    for axis, row in index_rows(source):
        for i, found in enumerate(moved(flow, node, source.shape, axis)):
            results[i] = _placed(flow, node, results[i], found, row, source.zero[axis])
    return results[0] if isinstance(node.meta["val"], Tensor) else results


@operation("tril", "triu")
def triangle(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """Entries beyond the diagonal become 0: both axes stay, and all others pass."""
    x = flow.value(a["self"])
    for row in x.rows[-2:]:
        flow.freeze(row, node, "cut off along a diagonal")
    return Value(x.shape, (*x.rows[:-2], None, None), (*x.zero[:-2], False, False), x.image)


@operation("roll", liveness=Liveness.PASSES)
@operation("repeat_interleave")
def roll(flow: Propagation, node: fx.Node, a: Arguments) -> Result:
    """An axis along which entries are shifted or repeated stays; all others pass."""
    source = flow.value(node.args[0])
    axes = flow.number(a["dims"] if packet(node) == "roll" else a.get("dim"))
    for axis in [axes] if isinstance(axes, int) else axes or range(len(source.shape)):
        flow.freeze(source.rows[axis], node, "shifted or repeated along it")
    return move(flow, node, a)


def _rest(flow: Propagation, node: fx.Node) -> list[fx.Node]:
    """The nodes among an operation's arguments, except the moved tensor and one used only for its shape."""
    like = packet(node).endswith("_as")
    return [] if like else [n for n in node.all_input_nodes if n is not node.args[0]]


def moved(flow: Propagation, node: fx.Node, shape: tuple[int, ...], axis: int) -> list[Tensor]:
    """Run an operation on a tensor whose entries are their positions along `axis`."""
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
    """Positions, counted from 1, where 0 is padding: a channel's is that of its entries that are not padded."""
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
    axes = []
    for axis in range(found.ndim):
        first = found.narrow(axis, 0, 1) if found.shape[axis] else found
        if found.stride(axis) and bool((first != found).any()):  # an expanded axis has stride 0
            axes.append(axis)
        else:
            found = first  # all indices are alike, so comparing the other axes takes less time
    return axes


def _placed(flow: Propagation, node: fx.Node, value: Value, found: Tensor, row: Row, zero: bool) -> Value:
    """Put the labels of one input axis on the output; `found` holds the position that every entry came from."""
    if not found.numel():
        return value
    axes = axes_that_vary(found)
    if not axes:
        flow.freeze(row[int(found.flatten()[0]) :][:1], node, "a single index is picked")
        return value
    compact = found[tuple(slice(None) if d in axes else 0 for d in range(found.ndim))].numpy()  # only these axes
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
    """Of the axes that an axis is split into, the one that keeps most nodes separate; the last of equal ones."""
    roots, inverse = np.unique(flow.labels.find(row), return_inverse=True)
    best, most = 0, -1
    for axis in range(compact.ndim):
        places = np.broadcast_to(
            np.arange(compact.shape[axis]).reshape([-1 if d == axis else 1 for d in range(compact.ndim)]), compact.shape
        )
        size = compact.shape[axis] + len(roots)
        columns = compact.shape[axis] + inverse[compact.reshape(-1)]
        parts = 1 + int(components(places.reshape(-1), columns, size).max())
        if parts >= most:
            best, most = axis, parts
    return best
