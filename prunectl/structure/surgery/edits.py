"""What to change in a network's own modules, so that their code runs on smaller tensors."""

from typing import Any

import numpy as np
from torch import fx, nn

from prunectl.structure.export import bind, owner_of, packet
from prunectl.structure.propagation import Propagation
from prunectl.structure.rules.move import picked
from prunectl.structure.surgery.graph_writer import Emitter
from prunectl.structure.surgery.replacements import NORMS

Edit = dict[str, Any]
_SIZED = {"view", "reshape", "expand", "unflatten", "split_with_sizes", "split"}
_WIDTHS = {"in_features", "out_features", "in_channels", "out_channels", "num_features", "embed_dim", "kdim", "vdim"}
"""Attributes that follow the tensors by themselves, or that swapped modules do not read."""


class Impossible(Exception):
    """The network's own code cannot run on the smaller tensors: its graph has to be rewritten."""


def edits_for(model: nn.Module, flow: Propagation, gone: np.ndarray[Any, Any], *, alive: bool) -> tuple[Edit, ...]:
    """The attributes to set and the modules to swap; `gone[label]` tells what is removed.

    Raises:
        Impossible: something would have to change that is no attribute of a module.
    """
    editor = _Editor(model, Emitter(flow, gone, alive=alive))
    for node in flow.graph.nodes:
        if node.op == "call_function" and flow.tensors_of(node):
            editor.visit(node)
    return tuple(editor.found.values())


class _Editor:
    """Collects edits, one for each attribute and module."""

    def __init__(self, model: nn.Module, em: Emitter) -> None:
        self.model, self.em, self.flow = model, em, em.flow
        self.found: dict[tuple[str, str], Edit] = {}

    def visit(self, node: fx.Node) -> None:
        """Look at one operation."""
        name, path = packet(node), owner_of(node)
        try:
            module = self.model.get_submodule(path)
        except AttributeError as error:
            raise Impossible from error
        if isinstance(module, nn.MultiheadAttention):
            self._attention(node, path, module)
        elif name.startswith("conv") and node in self.flow.whole_groups:
            a = bind(node)
            x = self.flow.value(a["input"])
            self._set(path, module, "groups", a["groups"], self.em.size(x, 1) // (x.shape[1] // a["groups"]))
        elif name in ("layer_norm", "rms_norm"):
            self._layer_norm(node, path, module)
        elif name == "group_norm":
            self._group_norm(node, path, module)
        elif node in self.flow.wide and self.em.shrinks(node) and not self.em.alive:
            raise Impossible
        elif name == "scaled_dot_product_attention":
            query = self.flow.value(bind(node)["query"])
            if bind(node)["scale"] is None and self.em.size(query, -1) != query.shape[-1]:
                raise Impossible
        elif name in ("index", "index_select"):
            found = picked(self.flow, node)
            if found and self.em.kept(self.flow.value(node.args[0]).rows[found[0]]) is not None:
                raise Impossible
        elif name in _SIZED:
            self._sizes(node, path, module)

    def _set(self, path: str, module: nn.Module, attribute: str, old: Any, new: Any) -> None:
        """Set an attribute that has the old value."""
        if old == new or not hasattr(module, attribute) or getattr(module, attribute) != old:
            return
        edit = {"module": path, "attribute": attribute, "value": new}
        if self.found.setdefault((path, attribute), edit) != edit:
            raise Impossible

    def _swap(self, path: str, kind: str, **options: Any) -> None:
        self.found[path, "swap"] = {"module": path, "swap": kind, **options}

    def _layer_norm(self, node: fx.Node, path: str, module: nn.Module) -> None:
        a = bind(node)
        x, sizes = self.flow.value(a["input"]), list(a["normalized_shape"])
        now = [self.em.size(x, axis) for axis in range(-len(sizes), 0)]
        if now == sizes:
            return
        kind = NORMS.get(type(module).__name__)
        if self.em.alive:
            if "normalized_shape" not in vars(module):
                raise Impossible
            self._set(path, module, "normalized_shape", module.normalized_shape, now)
        elif kind is None or len(sizes) > 1:
            raise Impossible
        else:
            self._swap(path, kind, width=sizes[0])

    def _group_norm(self, node: fx.Node, path: str, module: nn.Module) -> None:
        a = bind(node)
        x, groups = self.flow.value(a["input"]), a["num_groups"]
        each, now = x.shape[1] // groups, self.em.size(x, 1)
        if now == x.shape[1]:
            return
        if node in self.flow.whole_groups:
            self._set(path, module, "num_groups", groups, now // each)
        elif not self.em.alive:
            if type(module).__name__ != "GroupNorm":
                raise Impossible
            self._swap(path, "group_norm", width=each)

    def _attention(self, node: fx.Node, path: str, module: nn.MultiheadAttention) -> None:
        """Torch's attention is swapped for one that allows heads of any width."""
        touched = packet(node) == "linear" and self.em.touched(node)
        if touched and not module._qkv_same_embed_dim:
            raise Impossible
        if touched:
            self._swap(path, "attention", scale=(module.embed_dim // module.num_heads) ** -0.5)

    def _sizes(self, node: fx.Node, path: str, module: nn.Module) -> None:
        """Numbers in the code that the owner may have as attributes."""
        values = self.flow.tensors_of(node)
        for value in values:
            for axis in value.labelled:
                old, new = value.shape[axis], self.em.size(value, axis)
                for attribute, number in list(vars(module).items()):
                    if old != new and type(number) is int and number == old and attribute not in _WIDTHS:
                        self._set(path, module, attribute, old, new)
        if packet(node) == "split_with_sizes":
            a = bind(node)
            axis = a["dim"]
            now = [self.em.size(value, axis) for value in values]
            for attribute, given in list(vars(module).items()):
                if isinstance(given, list | tuple) and list(given) == list(a["split_sizes"]):
                    self._set(path, module, attribute, given, now)
