"""Rules of selection: scope, a target other than a sparsity, and what must stay."""

from dataclasses import dataclass

from prunectl.pruning.budget import Budget


@dataclass(frozen=True)
class NodeRules:
    """How nodes are ranked, and what stays: `min_nodes` on every axis, a multiple of `multiple_of` in every group.

    The channels of the image stay too, unless `outer_layers` is set. `normalize` names a normalisation of the scores
    (`normalization`), None is the criterion's own. No group loses more than the share `max_pruned`; None is 0.9, or
    more if the target needs it. `multiple_of` "auto" is 8 in groups of more than 16 nodes, and 1 in others. With
    `refill`, nodes are added back if a target leaves room.
    """

    min_nodes: int = 1
    multiple_of: int | str = 1
    outer_layers: bool = False
    normalize: str | None = None
    max_pruned: float | None = None
    refill: bool = True


EVERY_NODE = NodeRules()


@dataclass(frozen=True)
class SelectionRules:
    """How a unit is pruned. A budget or a threshold replaces the `sparsity`; scores up to the threshold are pruned."""

    scope: str
    rules: NodeRules = EVERY_NODE
    sparsity: float | None = None
    budget: Budget | None = None
    threshold: float | None = None
    regrow_value: str | None = None
    """As in `Criterion`."""
    keep: tuple[str, ...] = ()
    """Shell patterns of modules and parameters that are not pruned."""
    holds_layers: bool = False
    """Whether every layer keeps its share of all kept weights when weights return."""
