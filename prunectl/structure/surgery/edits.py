"""Finds the edits in a network's own modules with which their code runs on smaller tensors."""

from typing import Any

import numpy as np
from torch import fx, nn

from prunectl.structure.export import bind, owner_of, packet
from prunectl.structure.operations import Impossible, operation_of
from prunectl.structure.propagation import Propagation
from prunectl.structure.surgery.remaining import Remaining
from prunectl.structure.surgery.replacements import NORMS

Edit = dict[str, Any]
_RESIZED = {"in_features", "out_features", "in_channels", "out_channels", "num_features", "embed_dim", "kdim", "vdim"}
"""Attributes that resizing a module sets, or that swapped modules do not read."""


def edits_for(model: nn.Module, flow: Propagation, gone: np.ndarray[Any, Any], *, alive: bool) -> tuple[Edit, ...]:
    """The attributes to set and the modules to swap if `gone[label]` is removed.

    Raises:
        Impossible: something other than an attribute of a module would have to change.
    """
    edits = Edits(model, flow, gone, alive=alive)
    for node in flow.graph.nodes:
        if node.op == "call_function" and flow.tensors_of(node):
            edits.visit(node)
    return tuple(edits.found.values())


class Edits(Remaining):
    """Collects edits, one per attribute and module; all methods raise Impossible if no edit is possible."""

    def __init__(self, model: nn.Module, flow: Propagation, gone: np.ndarray[Any, Any], *, alive: bool) -> None:
        super().__init__(flow, gone, alive=alive)
        self.model = model
        self.found: dict[tuple[str, str], Edit] = {}

    def visit(self, node: fx.Node) -> None:
        """Collect the edits that one operation needs."""
        module, entry = self.module_of(node), operation_of(node)
        if isinstance(module, nn.MultiheadAttention):
            self._attention(node, module)
        elif entry is not None and entry.editor is not None:
            entry.editor(self, node, bind(node))
        elif node in self.flow.wide and self.shrinks(node) and not self.alive:
            raise Impossible

    def module_of(self, node: fx.Node) -> nn.Module:
        """The module whose code calls an operation."""
        try:
            return self.model.get_submodule(owner_of(node))
        except AttributeError as error:
            raise Impossible from error

    def norm_of(self, node: fx.Node) -> str | None:
        """The kind of swap for the norm that calls an operation; None if its class is unknown."""
        return NORMS.get(type(self.module_of(node)).__name__)

    def set(self, node: fx.Node, attribute: str, old: Any, new: Any) -> None:
        """Set an attribute of the module that calls an operation, if it has the old value."""
        path, module = owner_of(node), self.module_of(node)
        if old == new or not hasattr(module, attribute) or getattr(module, attribute) != old:
            return
        edit = {"module": path, "attribute": attribute, "value": new}
        if self.found.setdefault((path, attribute), edit) != edit:
            raise Impossible

    def set_sizes(self, node: fx.Node) -> None:
        """Set all attributes, of any name, that hold the old size of an axis of an operation's result."""
        module = self.module_of(node)
        for value in self.flow.tensors_of(node):
            for axis in value.labelled:
                old, new = value.shape[axis], self.size(value, axis)
                for attribute, number in list(vars(module).items()):
                    if old != new and type(number) is int and number == old and attribute not in _RESIZED:
                        self.set(node, attribute, old, new)

    def swap(self, node: fx.Node, kind: str, **options: Any) -> None:
        """Swap the module that calls an operation."""
        path = owner_of(node)
        self.found[path, "swap"] = {"module": path, "swap": kind, **options}

    def _attention(self, node: fx.Node, module: nn.MultiheadAttention) -> None:
        """Swap torch's attention for one that allows heads of any width."""
        touched = packet(node) == "linear" and self.touched(node)
        if touched and not module._qkv_same_embed_dim:
            raise Impossible
        if touched:
            self.swap(node, "attention", scale=(module.embed_dim // module.num_heads) ** -0.5)
