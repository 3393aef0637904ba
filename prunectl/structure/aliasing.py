"""Finds in-place writes, and tensors that share memory."""

from typing import Any

import torch
from torch import fx


def in_place(node: fx.Node) -> bool:
    """Whether an operation writes into its first argument."""
    target = node.target
    return isinstance(target, torch._ops.OpOverload) and target._schema.name.endswith("_") and target._schema.is_mutable


def bases(node: fx.Node) -> list[fx.Node]:
    """A tensor, the tensor of which it is a view or a written version, and so on."""
    chain = [node]
    while (base := _base(chain[-1])) is not None:
        chain.append(base)
    return chain


def written_by(node: fx.Node) -> list[fx.Node]:
    """All earlier tensors in the memory that an operation writes into; none if it does not write."""
    if not in_place(node) or not isinstance(node.args[0], fx.Node):
        return []
    found = bases(node.args[0])[-1:]
    for shared in found:  # grows while it runs
        found += [user for user in shared.users if user < node and _base(user) is shared]
    return found


def _base(node: fx.Node) -> Any:
    """The tensor whose memory an operation's result may share, or which it splits; None if there is none."""
    if node.op != "call_function" or not node.args:
        return None
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        shares = target._schema.arguments[0].alias_info is not None
    else:
        shares = getattr(target, "__name__", "") == "getitem"
    return node.args[0] if shares and isinstance(node.args[0], fx.Node) else None
