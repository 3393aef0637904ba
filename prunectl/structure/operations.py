"""The operations of exported graphs: one entry for each holds everything that the engine knows about it.

`prunectl explain` prints the name in brackets: "no rule for this operation (col2im; ...)". A new operation often fits
an existing rule in `rules/`; then add its name to the rule's decorator. `move.py` has operations that move entries,
`reduce.py` those that sum or compare along an axis, `pointwise.py` those that work entry by entry. Else write a rule
`(flow, node, a) -> Value` with `@operation("name")`, in the file of its family or in a new one, which is found.
`a` has the arguments by the names of `torch.ops.aten.NAME.default._schema`; `flow.value(a["self"])` is an input.

- `Value(shape, rows, zero, image)` (`labels.py`): `rows[d]` are the labels of axis d, a numpy array of int64, None
  if it stays; `zero[d]` promises that entries at removed indices are exactly zero. When unsure, use `False`.
- `join` makes labels equal where axes meet; `contract` is for sums of products, where one zero factor is enough
  (`contraction.py`); `move` is for operations that only move entries; `flow.freeze(row, node, "why")` keeps indices.
- `liveness=` says which nodes reach which; `MIXES`, the default, is always safe.
- A number in the call that shrinks needs `writer=`; a module attribute that holds it needs `editor=`
  (`rules/reshape.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from prunectl.structure.export import packet
from prunectl.structure.labels import Value

if TYPE_CHECKING:
    from prunectl.structure.propagation import Propagation
    from prunectl.structure.surgery.edits import Edits
    from prunectl.structure.surgery.graph_writer import Emitter

Arguments = dict[str, Any]
"""The arguments of an operation by the names of its schema, defaults filled in."""
Result = Value | list[Value] | None
Rule = Callable[["Propagation", fx.Node, Arguments], Result]
Writer = Callable[["Emitter", fx.Node, Arguments], fx.Node | None]
Editor = Callable[["Edits", fx.Node, Arguments], None]


class Liveness(Enum):
    """Which nodes in an operation's inputs can reach which nodes in its result."""

    MIXES = "mixes"
    """Any node can reach any other. This is always safe, but keeps nodes that a finer kind would remove."""
    PASSES = "passes"
    """Each node reaches only itself, unless statistics are taken over an axis with nodes (`Propagation.wide`)."""
    REDUCES = "reduces"
    """As PASSES, unless an axis that carries nodes is reduced."""
    LINEAR = "linear"
    """Through a weight (out, in) on the last axis. The arguments are named `input`, `weight` and `bias`."""
    CONVOLUTION = "convolution"
    """Through a weight (out, in / groups, ...) on axis 1, with the same names of arguments."""
    TRANSPOSED = "transposed convolution"
    """Through a weight (in, out / groups, ...) on axis 1, with the same names of arguments."""


@dataclass(frozen=True)
class Operation:
    """What the engine knows about an operation.

    `rule` maps the labels of the inputs to those of the result. `writer` adds the operation to a rewritten graph if an
    input or the result is smaller; without a writer, or if it returns None, the same call is written. `editor` changes
    the module that calls the operation, so that the module's own code runs on smaller tensors.
    """

    rule: Rule
    liveness: Liveness = Liveness.MIXES
    writer: Writer | None = None
    editor: Editor | None = None


class Impossible(Exception):
    """Raised by an editor if the network's own code cannot run on smaller tensors; its graph is then rewritten."""


OPERATIONS: dict[str, Operation] = {}
"""The entries by operation name, without namespace and overload."""


def operation(
    *names: str, liveness: Liveness = Liveness.MIXES, writer: Writer | None = None, editor: Editor | None = None
) -> Callable[[Rule], Rule]:
    """Enter the decorated rule, and what else is known about these operations, into the table.

    Raises:
        ValueError: an operation already has an entry.
    """

    def enter(rule: Rule) -> Rule:
        for name in names:
            if name in OPERATIONS:
                raise ValueError(f"the operation '{name}' already has an entry, in {OPERATIONS[name].rule.__module__}")
            OPERATIONS[name] = Operation(rule, liveness, writer, editor)
        return rule

    return enter


def operation_of(node: fx.Node) -> Operation | None:
    """The entry of a node's operation; a pointwise operation without one is handled as an addition."""
    found = OPERATIONS.get(packet(node))
    return OPERATIONS["add"] if found is None and is_pointwise(node) else found


def is_pointwise(node: fx.Node) -> bool:
    """Whether torch tags this overload of an operation as working entry by entry."""
    return torch.Tag.pointwise in getattr(node.target, "tags", ())


def liveness_of(node: fx.Node) -> Liveness:
    """How liveness passes a node's operation; torch's tag of the overload takes precedence over the entry."""
    entry = operation_of(node)
    if is_pointwise(node):
        return Liveness.PASSES
    return Liveness.MIXES if entry is None else entry.liveness
