"""Inlines regions of a graph (autocast, no_grad), which are traced as calls."""

from typing import Any

import torch
from torch import fx


def inline_(module: fx.GraphModule) -> None:
    """Replace calls of regions (autocast, no_grad) by their bodies."""
    changed = True
    while changed:
        changed = False
        for node in list(module.graph.nodes):
            body = _body(module, node)
            if body is None:
                continue
            inner, arguments = body
            values: dict[fx.Node, Any] = dict(
                zip((n for n in inner.graph.nodes if n.op == "placeholder"), arguments, strict=True)
            )
            with module.graph.inserting_before(node):
                result = module.graph.graph_copy(inner.graph, values)
            _replace_(module, node, result)
            changed = True
    for node in list(module.graph.nodes):
        if node.op == "get_attr" and not node.users:
            module.graph.erase_node(node)


def _body(module: fx.GraphModule, node: fx.Node) -> tuple[fx.GraphModule, tuple[Any, ...]] | None:
    """The graph that a region runs, and its arguments."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.HigherOrderOperator):
        return None
    for position, argument in enumerate(node.args):
        if isinstance(argument, fx.Node) and argument.op == "get_attr":
            inner = getattr(module, str(argument.target), None)
            if isinstance(inner, fx.GraphModule):
                return inner, node.args[position + 1 :]
    return None


def _replace_(module: fx.GraphModule, node: fx.Node, result: Any) -> None:
    """Let the users of a region read the results of its body."""
    if isinstance(result, fx.Node):
        node.replace_all_uses_with(result)
    else:
        for user in list(node.users):
            if user.target.__name__ == "getitem":  # type: ignore[union-attr]
                user.replace_all_uses_with(result[user.args[1]])
                module.graph.erase_node(user)
    module.graph.erase_node(node)
