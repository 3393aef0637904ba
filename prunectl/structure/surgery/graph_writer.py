"""Rewrite an exported graph for a network from which nodes are gone: its numbers are set to what is left."""

import operator
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from prunectl.errors import StructureError
from prunectl.structure.export import bind, packet
from prunectl.structure.labels import Row, Value
from prunectl.structure.propagation import Arguments, Propagation
from prunectl.structure.rules.move import picked
from prunectl.structure.surgery import width_norms

aten = torch.ops.aten
_DROPPED = {"_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range", "sym_constrain_range_for_size"}
Writer = Callable[["Emitter", fx.Node, Arguments], fx.Node | None]
WRITERS: dict[str, Writer] = {}
"""How an operation is written for fewer nodes, where that is not just the same operation."""


def writes(*operations: str) -> Callable[[Writer], Writer]:
    """Enter a writer into the table for these operations."""

    def enter(function: Writer) -> Writer:
        WRITERS.update(dict.fromkeys(operations, function))
        return function

    return enter


class Emitter:
    """Copies a graph. `gone[label]` tells what is removed; `alive` takes statistics over what is left."""

    def __init__(self, flow: Propagation, gone: np.ndarray[Any, Any], *, alive: bool) -> None:
        self.flow, self.gone, self.alive = flow, gone, alive
        self.graph = fx.Graph()
        self.new: dict[fx.Node, Any] = {}
        self.constants: list[Tensor] = []
        self.image: Any = None

    def run(self) -> fx.Graph:
        """Write the whole graph: one input, one output, parameters and buffers as attributes."""
        self.image = self.graph.placeholder("x")
        for node in self.flow.graph.nodes:
            if node.op == "placeholder":
                self.new[node] = self._placeholder(node)
            elif node.op == "output":
                results = [self.new[output] for output in self.flow.graph.outputs]
                self.graph.output(results[0] if len(results) == 1 else tuple(results))
            elif packet(node) not in _DROPPED:
                self.new[node] = self._operation(node)
        self.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output") or _writes(node))
        return self.graph

    def kept(self, row: Row | None) -> Row | None:
        """The positions of an axis that are left, None if all are."""
        if row is None:
            return None
        left = np.flatnonzero(~self.gone[row])
        return None if len(left) == len(row) else left

    def size(self, value: Value, axis: int) -> int:
        """How long an axis is now."""
        left = self.kept(value.rows[axis])
        return value.shape[axis] if left is None else len(left)

    def call(self, function: Any, *arguments: Any, **keywords: Any) -> fx.Node:
        """Add a call to the graph; nodes of the old graph stand for those of the new one."""
        return self.graph.call_function(function, self.mapped(arguments), self.mapped(keywords))

    def mapped(self, argument: Any) -> Any:
        """The same arguments in the new graph."""
        return fx.node.map_arg(argument, lambda node: self.new.get(node, node))

    def constant(self, tensor: Tensor) -> fx.Node:
        """A tensor that the graph needs, on the device of the image."""
        self.constants.append(tensor)
        shelf, device = self.graph.get_attr("constants"), self.graph.call_function(getattr, (self.image, "device"))
        return self.graph.call_method("on", (shelf, len(self.constants) - 1, device))

    def _placeholder(self, node: fx.Node) -> Any:
        if node in self.flow.graph.images:
            left = self.kept(self.flow.value(node).rows[1])
            if left is None:
                return self.image
            return self.graph.call_function(
                aten.index_select.default, (self.image, 1, self.constant(torch.tensor(left)))
            )
        if node in self.flow.graph.constants:
            return self.constant(self.flow.graph.constants[node])
        return self.graph.get_attr(self.flow.graph.names[node])

    def _operation(self, node: fx.Node) -> Any:
        writer = WRITERS.get(packet(node))
        written = writer(self, node, bind(node)) if writer and self.touched(node) else None
        made = self.call(node.target, *node.args, **node.kwargs) if written is None else written
        if isinstance(made, fx.Node):
            self._like_image_(made, typed=not self.flow.tensors_of(list(node.all_input_nodes)))
        return made

    def _like_image_(self, made: fx.Node, *, typed: bool) -> None:
        """Let a new tensor be where the image is; `typed`, where it is made from nothing, of its type where it was."""
        own = self.flow.graph.images[0].meta["val"]
        given = {"device": made.kwargs.get("device"), "dtype": made.kwargs.get("dtype")}
        for key, value in given.items():
            if isinstance(value, torch.device) or (typed and value is not None and value == own.dtype):
                with self.graph.inserting_before(made):
                    read = self.graph.call_function(getattr, (self.image, key))
                made.kwargs = {**made.kwargs, key: read}
        for i, argument in enumerate(made.args):
            if isinstance(argument, torch.device):
                with self.graph.inserting_before(made):
                    made.update_arg(i, self.graph.call_function(getattr, (self.image, "device")))

    def touched(self, node: fx.Node) -> bool:
        """Whether anything that goes in or comes out is smaller than it was."""
        values = self.flow.tensors_of([*node.all_input_nodes, node])
        return any(self.kept(row) is not None for value in values for row in value.rows)

    def shrinks(self, node: fx.Node) -> bool:
        """Whether an axis of what comes in is smaller than it was."""
        return any(self.kept(row) is not None for v in self.flow.tensors_of(node.args[0]) for row in v.rows)


def _writes(node: fx.Node) -> bool:
    """Whether a step changes a tensor that it was given."""
    target = node.target
    mutable = isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable
    trains = target in (aten.batch_norm.default, aten.instance_norm.default)
    return mutable or trains


@writes("view", "reshape", "_unsafe_view", "expand")
def _sized(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node:
    """A list of sizes, one for every axis that comes out."""
    key = next(k for k in ("size", "shape") if k in a)
    out = em.flow.value(node)
    sizes = [_resized(em, given, out, axis) for axis, given in enumerate(a[key])]
    return em.call(node.target, a["self"], sizes, **node.kwargs)


def _resized(em: Emitter, given: Any, out: Value, axis: int) -> Any:
    """A size in a list of sizes: the new one, also where it was computed from the batch."""
    now, was = em.size(out, axis), out.shape[axis]
    if now == was or (isinstance(given, int) and given == -1):
        return given
    if isinstance(given, fx.Node):
        return em.call(operator.floordiv, em.call(operator.mul, given, now), was)
    return now


@writes("unflatten")
def _unflatten(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node:
    out, x = em.flow.value(node), em.flow.value(a["self"])
    first = a["dim"] % len(x.shape)
    sizes = [_resized(em, given, out, first + i) for i, given in enumerate(a["sizes"])]
    return em.call(node.target, a["self"], a["dim"], sizes)


@writes("slice", "narrow")
def _slice(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node | None:
    """A range of an axis: where its indices lie among those that are left."""
    x, axis = em.flow.value(a["self"]), a["dim"]
    left = em.kept(x.rows[axis])
    if left is None:
        return None
    start = a["start"] or 0
    end = start + a["length"] if packet(node) == "narrow" else a["end"]
    chosen = np.arange(x.shape[axis])[slice(start, end, a.get("step", 1))]
    places = np.flatnonzero(np.isin(left, chosen))
    if len(places) and places[-1] - places[0] + 1 == len(places):
        return em.call(aten.slice.Tensor, a["self"], axis, int(places[0]), int(places[-1]) + 1)
    if any(packet(user) == "zero" for user in node.users):
        raise StructureError(f"a strided part of an axis is set to zero: {node}")
    return em.call(aten.index_select.default, a["self"], axis, em.constant(torch.from_numpy(places)))


@writes("select")
def _select(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node | None:
    x = em.flow.value(a["self"])
    left = em.kept(x.rows[a["dim"]])
    if left is None:
        return None
    wanted = a["index"] % x.shape[a["dim"]]
    return em.call(node.target, a["self"], a["dim"], int(np.flatnonzero(left == wanted)[0]))


@writes("index", "index_select")
def _picked(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node | None:
    """Positions among those that are left."""
    axis, positions = picked(em.flow, node) or (0, None)
    left, out = em.kept(em.flow.value(a["self"]).rows[axis]), em.kept(em.flow.value(node).rows[axis])
    if positions is None or left is None:
        return None
    places = np.searchsorted(left, positions.numpy()[slice(None) if out is None else out])
    return em.call(aten.index_select.default, a["self"], axis, em.constant(torch.from_numpy(places)))


@writes("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_chunk")
def _split(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node | None:
    """Pieces of the sizes that they have now."""
    x, axis = em.flow.value(a["self"]), a["dim"]
    if em.kept(x.rows[axis]) is None:
        return None
    sizes = [em.size(piece, axis) for piece in em.flow.values[node]]
    return em.call(aten.split_with_sizes.default, a["self"], sizes, axis)


@writes("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _convolution(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node | None:
    """Fewer groups, where whole groups go; a constant weight loses theirs."""
    if node not in em.flow.whole_groups:
        return None
    x = em.flow.value(a["input"])
    changed = {"groups": em.size(x, 1) // (x.shape[1] // a["groups"])}
    left = em.kept((x if "transpose" in packet(node) else em.flow.value(node)).rows[1])
    if a["weight"] in em.flow.known and left is not None:
        changed["weight"] = em.call(aten.index_select.default, a["weight"], 0, em.constant(torch.from_numpy(left)))
    return em.call(node.target, *({**a, **changed}).values())


@writes("group_norm")
def _group_norm(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node | None:
    x = em.flow.value(a["input"])
    each = x.shape[1] // a["num_groups"]
    if node in em.flow.whole_groups:
        return em.call(node.target, a["input"], em.size(x, 1) // each, a["weight"], a["bias"], a["eps"])
    if em.alive:
        return None
    return em.call(width_norms.group_norm, a["input"], a["num_groups"], each, a["weight"], a["bias"], a["eps"])


@writes("layer_norm", "rms_norm")
def _layer_norm(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node | None:
    x, count = em.flow.value(a["input"]), len(a["normalized_shape"])
    axes = tuple(range(-count, 0))
    if all(em.kept(x.rows[axis]) is None for axis in axes):
        return None
    if em.alive:
        sizes = [em.size(x, axis) for axis in axes]
        return em.call(node.target, *({**a, "normalized_shape": sizes}).values())
    width = prod(x.shape[axis] for axis in axes)
    if packet(node) == "rms_norm":
        return em.call(width_norms.rms_norm, a["input"], axes, width, a["weight"], a["eps"])
    return em.call(width_norms.layer_norm, a["input"], axes, width, a["weight"], a["bias"], a["eps"])


@writes("batch_norm")
def _batch_norm(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node | None:
    """Weight standardisation is written as the BatchNorm of a weight."""
    x = em.flow.value(a["input"])
    if em.alive or node not in em.flow.wide:
        return None
    axes = (0, *range(2, len(x.shape)))
    if all(em.kept(x.rows[axis]) is None for axis in axes):
        return None
    width = prod(x.shape[axis] for axis in axes)
    return em.call(width_norms.batch_norm, a["input"], axes, width, a["weight"], a["bias"], a["eps"])


@writes("mean")
def _mean(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node | None:
    if em.alive or node not in em.flow.wide:
        return None
    x, given = em.flow.value(a["self"]), a.get("dim")
    axes = tuple(range(len(x.shape))) if given in (None, []) else tuple([given] if isinstance(given, int) else given)
    if all(em.kept(x.rows[axis]) is None for axis in axes):
        return None
    return em.call(width_norms.mean, a["self"], axes, prod(x.shape[axis] for axis in axes), bool(a.get("keepdim")))


@writes("scaled_dot_product_attention")
def _attention(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node:
    """The scale of the original width."""
    scale = a["scale"] if a["scale"] is not None else em.flow.value(a["query"]).shape[-1] ** -0.5
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    return em.call(node.target, *(a[name] for name in names), scale=scale, enable_gqa=a.get("enable_gqa", False))


@writes("lstm", "gru", "rnn_tanh", "rnn_relu")
def _recurrent(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node:
    """The first states, which are zero, as wide as the hidden layer is now."""
    units = {em.size(em.flow.value(p), 1) for p in a["params"][1 :: 4 if a["has_biases"] else 2]}
    if len(units) > 1:
        raise StructureError("the layers of a recurrent network have different widths")
    states = a["hx"] if isinstance(a["hx"], list | tuple) else [a["hx"]]
    cut = [em.call(aten.slice.Tensor, state, -1, 0, units.copy().pop()) for state in states]
    hx = cut if isinstance(a["hx"], list | tuple) else cut[0]
    return em.call(node.target, a["input"], hx, *list(a.values())[2:])
