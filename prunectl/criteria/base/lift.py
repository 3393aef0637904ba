"""Uses a criterion of weights for nodes, with the sum over a node's filters."""

import functools
from dataclasses import replace
from typing import Any

from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.errors import OptionError
from prunectl.scores import Scores
from prunectl.structure.gates import at_filters
from prunectl.structure.nodes import Structure


def for_nodes(method: Criterion, unit: str | None, name: str) -> Criterion:
    """The criterion with another unit: scores of weights are added up over the filters of a node.

    Sums grow with the number of weights in a filter, so nodes are comparable only after normalisation by group.

    Raises:
        OptionError: it is a criterion of nodes, or pruned weights would return.
    """
    if unit is None or unit == method.unit:
        return method
    if (method.unit, unit) != ("weights", "nodes") or method.regrow_value or method.callback:
        raise OptionError(
            f"expected `unit` nodes and a criterion of weights that never regrows weights; got {unit} and {name}, "
            f"which prunes {method.unit}; leave out `unit`, or use another criterion"
        )

    @functools.wraps(method.scorer)
    def scorer(model: nn.Module, data: Batches, structure: Structure, **options: Any) -> Scores:
        return at_filters(structure, model, method.scorer(model, data, **options))

    scope = "layer" if method.scope == "output" else method.scope  # a node is an output
    return replace(method, scorer=scorer, unit=unit, scope=scope, normalize="l2", normalize_budget="max")
