"""Rewrites an exported graph for a network without the removed nodes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from prunectl.structure.export import bind, packet
from prunectl.structure.operations import operation_of
from prunectl.structure.propagation import Propagation
from prunectl.structure.surgery.remaining import Remaining

aten = torch.ops.aten
_TYPED_ALIKE = {"scaled_dot_product_attention": ("attn_mask", "query"), "baddbmm": ("self", "batch1")}
"""Arguments that must have the type of another one: torch misreads a mask of a different type."""
_DROPPED = {"_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range", "sym_constrain_range_for_size"}


class Emitter(Remaining):
    """Copies a graph for the remaining tensors."""

    def __init__(self, flow: Propagation, gone: np.ndarray[Any, Any], *, alive: bool) -> None:
        super().__init__(flow, gone, alive=alive)
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

    def call(self, function: Any, *arguments: Any, **keywords: Any) -> fx.Node:
        """Add a call to the graph; nodes of the old graph among the arguments are replaced by those of the new one."""
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
        before = self._retype_mask_(node)
        entry = operation_of(node)
        write = entry.writer if entry is not None and self.touched(node) else None
        written = None if write is None else write(self, node, bind(node))
        made = self.call(node.target, *node.args, **node.kwargs) if written is None else written
        self.new |= before
        if isinstance(made, fx.Node):
            self._like_image_(made, typed=not self.flow.tensors_of(list(node.all_input_nodes)))
        return made

    def _retype_mask_(self, node: fx.Node) -> dict[fx.Node, Any]:
        """Let attention read its mask in the type of the queries, and return the previous mapping of the mask.

        A mask made of booleans was traced with the network's type at that time; the network may be cast later.
        """
        mask, like = (bind(node).get(name) for name in _TYPED_ALIKE.get(packet(node), ("", "")))
        if not isinstance(mask, fx.Node) or not isinstance(like, fx.Node):
            return {}
        if mask.meta["val"].dtype != like.meta["val"].dtype:  # booleans, or a bug in the network
            return {}
        before = {mask: self.new[mask]}
        dtype = self.graph.call_function(getattr, (self.new[like], "dtype"))
        self.new[mask] = self.graph.call_method("to", (self.new[mask], dtype))
        return before

    def _like_image_(self, made: fx.Node, *, typed: bool) -> None:
        """Make a new tensor on the image's device; if `typed`, also in the image's type if that was the old type."""
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


def _writes(node: fx.Node) -> bool:
    """Whether an operation writes into one of its arguments."""
    target = node.target
    mutable = isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable
    trains = target in (aten.batch_norm.default, aten.instance_norm.default)
    return mutable or trains
