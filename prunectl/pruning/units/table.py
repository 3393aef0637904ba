"""The units of pruning by name."""

from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.criteria.base.criterion import Criterion
from prunectl.errors import OptionError
from prunectl.masks import check_prunable
from prunectl.pruning.rules import EVERY_NODE, SelectionRules
from prunectl.pruning.units.base import Unit, criteria_for_nodes
from prunectl.pruning.units.both import Both
from prunectl.pruning.units.nodes import Nodes
from prunectl.pruning.units.weights import UntouchedWeights, Weights

UNITS: dict[str, type[Unit]] = {"weights": Weights, "nodes": Nodes, "both": Both}


def unit_of(
    method: Criterion, checkpoint: Checkpoint, model: nn.Module, how: SelectionRules, *, untouched: bool = False
) -> Unit:
    """The unit that a criterion prunes, on a copy of the checkpoint's network, or on itself if it stays `untouched`.

    Raises:
        OptionError: rules for nodes but none are pruned, an unknown unit, or a network without nodes or weights.
        StructureError: nodes are pruned, but the network cannot be traced.
    """
    if method.unit not in UNITS:
        raise OptionError(f"a criterion's unit must be weights, nodes or both, got '{method.unit}'")
    if method.unit == "weights" and how.rules != EVERY_NODE:
        raise OptionError(
            "`min_nodes`, `multiple_of`, `outer_layers`, `normalize` and `max_pruned` are for criteria of nodes "
            f"({criteria_for_nodes()}); this one prunes the weights of all layers"
        )
    check_prunable(model, all_layers=method.unit != "nodes")
    unit = UntouchedWeights if untouched else UNITS[method.unit]
    return unit(checkpoint, model, how)
