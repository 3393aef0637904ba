"""Computes the remaining sizes of the tensors in a graph once nodes are removed."""

from typing import Any

import numpy as np
from torch import fx

from prunectl.structure.labels import Row, Value
from prunectl.structure.propagation import Propagation


class Remaining:
    """The remaining sizes if `gone[label]` is removed; `alive` takes statistics over the remaining channels."""

    def __init__(self, flow: Propagation, gone: np.ndarray[Any, Any], *, alive: bool) -> None:
        self.flow, self.gone, self.alive = flow, gone, alive

    def kept(self, row: Row | None) -> Row | None:
        """The remaining positions on an axis, None if all remain."""
        if row is None:
            return None
        left = np.flatnonzero(~self.gone[row])
        return None if len(left) == len(row) else left

    def size(self, value: Value, axis: int) -> int:
        """The remaining length of an axis."""
        left = self.kept(value.rows[axis])
        return value.shape[axis] if left is None else len(left)

    def touched(self, node: fx.Node) -> bool:
        """Whether any input or result shrinks."""
        values = self.flow.tensors_of([*node.all_input_nodes, node])
        return any(self.kept(row) is not None for value in values for row in value.rows)

    def shrinks(self, node: fx.Node) -> bool:
        """Whether the first input shrinks."""
        return any(self.kept(row) is not None for v in self.flow.tensors_of(node.args[0]) for row in v.rows)
