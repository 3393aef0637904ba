"""How a unit is selected: its scope, its target where that is no sparsity, and what must stay."""

from dataclasses import dataclass

from prunectl.pruning.budget import Budget


@dataclass(frozen=True)
class NodeRules:
    """What stays: `min_nodes` on every axis, a multiple of `multiple_of` in every group.

    The channels of the image stay too, unless `outer_layers` lets them go.
    """

    min_nodes: int = 1
    multiple_of: int = 1
    outer_layers: bool = False


EVERY_NODE = NodeRules()


@dataclass(frozen=True)
class SelectionRules:
    """How a unit is pruned. A budget or a threshold replaces the sparsity; scores up to the threshold go."""

    scope: str
    rules: NodeRules = EVERY_NODE
    budget: Budget | None = None
    threshold: float | None = None
    regrow_value: str | None = None
    """As in `Criterion`."""
    keep: tuple[str, ...] = ()
    """Shell patterns of the modules and parameters that stay as they are."""
