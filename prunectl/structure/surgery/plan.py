"""Plan: how a smaller network is made from the dense one, in values that a file can hold."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.structure.surgery.cut import Kept, composed
from prunectl.structure.surgery.graph_module import rewritten_
from prunectl.structure.surgery.replacements import apply_edits_


@dataclass(frozen=True, eq=False)
class Plan:
    """The remaining indices on the axes of the dense network, and how the smaller network runs.

    `edits` change attributes of modules and swap modules; if `graph` is set, the network's graph is rewritten instead.
    `alive` says that norms take their statistics over the remaining channels. `why` says why a graph is needed; it is
    not saved.
    """

    kept: Kept
    edits: tuple[dict[str, Any], ...] = ()
    graph: bool = False
    alive: bool = False
    why: str = ""

    def to_edits(self) -> tuple[dict[str, Any], ...]:
        """The values of a checkpoint's `edits`."""
        rows: dict[str, int] = {}
        axes = {}
        for (name, axis), left in sorted(self.kept.items()):
            axes[f"{name}:{axis}"] = rows.setdefault(_packed(left), len(rows))
        plan = {"kept": axes, "rows": list(rows), "graph": self.graph, "alive": self.alive}
        return (*self.edits, plan)

    @staticmethod
    def of(edits: tuple[dict[str, Any], ...]) -> "Plan":
        """Undo `to_edits`.

        Raises:
            ValueError, KeyError: damaged.
        """
        plan = next((edit for edit in edits if "kept" in edit), None)
        if plan is None:
            return Plan({}, edits)
        rows = [_unpacked(text) for text in plan["rows"]]
        kept = {(key.rpartition(":")[0], int(key.rpartition(":")[2])): rows[row] for key, row in plan["kept"].items()}
        return Plan(kept, tuple(edit for edit in edits if edit is not plan), plan["graph"], plan["alive"])

    def after(self, kept: Kept, edits: tuple[dict[str, Any], ...]) -> "Plan":
        """The plan of two shrinks; the first one, with these edits, left a network that runs its own code."""
        named = {(edit["module"], edit.get("attribute", "swap")): edit for edit in (*edits, *self.edits)}
        return Plan(composed(kept, self.kept), tuple(named.values()), self.graph, self.alive)

    def apply_(self, small: nn.Module) -> None:
        """Change the modules of a network; its tensors may still be those of the dense one."""
        apply_edits_(small, self.edits)

    def finish_(self, small: nn.Module, dense: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
        """Rewrite the graph, if the plan needs it; `dense` has the same modules in their old widths."""
        return rewritten_(small, dense, shape, self.kept, alive=self.alive) if self.graph else small


def _packed(left: Tensor) -> str:
    """Indices as a hexadecimal number: bit i for index i."""
    digits = bytearray(b"0" * (int(left.max()) + 1))
    for i in left.tolist():
        digits[-1 - i] = ord("1")
    return f"{int(digits, 2):x}"


def _unpacked(text: str) -> Tensor:
    """Undo `_packed`."""
    digits = bin(int(text, 16))[:1:-1]
    return torch.tensor([i for i, digit in enumerate(digits) if digit == "1"], dtype=torch.int64)
