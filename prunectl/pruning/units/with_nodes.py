"""What units that remove nodes share: the network's structure, the ranking of its nodes, and the removed nodes."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import AUTO
from prunectl.checkpoints.original_shapes import nodes_present
from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.pruning.ceiling import ceiling_for, sparsity_for, thin_groups
from prunectl.pruning.latency_search import LatencySearch
from prunectl.pruning.multiples import Multiples, original_shapes, original_sizes
from prunectl.pruning.node_costs import BudgetMeter
from prunectl.pruning.normalization import normalized
from prunectl.pruning.ranking import Ranking, rank
from prunectl.pruning.rules import NodeRules, SelectionRules
from prunectl.pruning.units.base import Unit
from prunectl.scores import Scores
from prunectl.structure.costs import costs_without
from prunectl.structure.keep import nodes_on
from prunectl.structure.liveness import cut_off
from prunectl.structure.node_masks import dead_nodes
from prunectl.structure.nodes import FROZEN
from prunectl.structure.trace import Analysis, analyse


class WithNodes(Unit):
    """A unit that removes nodes: the network's structure, and which nodes are `gone`, bool (nodes,)."""

    def __init__(self, checkpoint: Checkpoint, model: nn.Module, how: SelectionRules) -> None:
        self.asked: float | None = None
        self.solved: tuple[int, int] | None = None
        """The number of nodes that the last `solve` keeps, and the number of entries of its ranking to remove."""
        self.analysis = _follow(checkpoint, model, how.rules)
        self.structure = self.analysis.structure
        super().__init__(checkpoint, model, how)
        self.gone = self.begun = dead_nodes(self.structure, self.masks, model)
        self.went = torch.zeros(0, dtype=torch.int64)
        """The nodes removed since, in their order."""
        self.staying = nodes_on(self.structure, self.protected)
        """The nodes on the axes of the layers that stay, bool (nodes,)."""
        self.counted = torch.ones(self.structure.nodes, dtype=torch.bool)
        """All nodes except the channels of the image, which no sparsity counts, bool (nodes,)."""
        self.counted[self.structure.image[self.structure.image != FROZEN]] = False
        inner = int(self.counted.sum())
        self.nodes = max(checkpoint.dense.nodes or 0, inner)
        self.alone = max(nodes_present(checkpoint) - inner, 0)  # the last ones on their axes, which must stay
        self.spending = None if how.budget is None else BudgetMeter(how.budget, checkpoint, model, self.analysis)
        latency = self.spending is not None and self.spending.budget.kind == "latency"
        self.search = LatencySearch(self.spending, self._share_without) if self.spending and latency else None
        self.shapes = original_shapes(checkpoint)
        self.sizes = original_sizes(self.structure, self.structure.groups, self.shapes)
        """The number of nodes of every group in the original network, int64 (groups,)."""
        self.firm = self.rules.max_pruned is not None
        """Whether the user set the ceiling; the default ceiling is raised if a target needs it."""
        if not self.firm:
            share = 1.0 if self.spending is None else self.spending.limit / self.spending.whole
            self.rules = replace(self.rules, max_pruned=ceiling_for(how.sparsity or sparsity_for(share)))

    @cached_property
    def multiples(self) -> Multiples:
        """The number of nodes of each kind that are removed or added back together."""
        return Multiples.of(self.structure, self.rules.multiple_of, self.shapes)

    def apply_(self, masks: Masks, anew: Mapping[str, Tensor] | None = None) -> None:
        """Replace the masks, restore the values of nodes that return, and find the removed nodes."""
        for name, mask in self.masks.items():
            returns = ~mask & masks.of(name, mask)
            if returns.any():
                parameter, before = self.model.get_parameter(name), self.checkpoint.model.get_parameter(name)
                with torch.no_grad():
                    parameter.copy_(torch.where(returns, before, parameter))
        super().apply_(masks, anew)
        self.gone = dead_nodes(self.structure, masks, self.model)

    def inputs(self, progress: float) -> tuple[Any, ...]:
        """The structure."""
        return (self.structure,)

    def comparable(self, scores: Scores) -> Scores:
        """The scores, with those of nodes normalised, on the cpu."""
        left = ~self.gone if scores.unscored is None else ~(self.gone | scores.unscored)
        found = normalized(self.rules.normalize or "none", node_scores(scores), left, self.structure)
        return replace(scores, nodes=found)

    def ranking(self, scores: Scores) -> Ranking:
        """The nodes in the order of removal."""
        comparable = node_scores(self.comparable(scores))
        return self._ranked(comparable, self.scope, self.rules.max_pruned or 1.0, scores.unscored)

    def _ranked(self, scores: Tensor, scope: str, max_pruned: float, unscored: Tensor | None = None) -> Ranking:
        return rank(
            self.structure,
            scores,
            ~self.gone,
            scope=scope,
            min_nodes=self.rules.min_nodes,
            multiples=self.multiples if self.rules.multiple_of != 1 else None,
            max_pruned=max_pruned,
            staying=self.staying,
            unscored=unscored,
            sizes=self.sizes,
            model=self.model,
        )

    @property
    def least(self) -> Tensor:
        """The nodes that are gone from a network as small as the rules allow, whatever the scores: bool (nodes,)."""
        ranking = self._ranked(
            torch.zeros(self.structure.nodes), "global", (self.firm and self.rules.max_pruned) or 1.0
        )
        return self.gone | ranking.removed(len(ranking.order))

    @property
    def unreached(self) -> Tensor:
        """The removed nodes, and those that no path of kept weights reaches: bool (nodes,)."""
        return self.gone | cut_off(self.model, self.analysis, self.masks)

    def result(self) -> dict[str, Any]:
        """Sparsities, and the costs of the network without the removed nodes."""
        thin = thin_groups(self.structure, self.gone, self.sizes)
        odd = [] if self.rules.multiple_of == 1 else self.multiples.odd_widths(self.structure, self.gone)
        return {
            "node_sparsity": 1 - (self.many(~self.unreached) + self.alone) / self.nodes,
            **super().result(),
            **asdict(costs_without(self.structure, self.model, self.gone)),
            **({"max_pruned": self.rules.max_pruned} if (self.rules.max_pruned or 1) < 1 else {}),
            **({"thin_groups": thin} if thin else {}),
            **({"multiples": self.multiples.counts} if self.rules.multiple_of == AUTO else {}),
            **({"odd_widths": odd} if odd else {}),
        }

    def _share_without(self, gone: Tensor) -> float:
        """The share of the dense network's nodes that are left without these, bool (nodes,)."""
        return (self.many(~gone) + self.alone) / self.nodes

    def many(self, nodes: Tensor) -> int:
        """The number of these nodes, bool (nodes,), that a sparsity counts."""
        return int((nodes & self.counted).sum())


def node_scores(scores: Scores) -> Tensor:
    """The scores of the nodes, on the cpu."""
    if scores.nodes is None:
        raise OptionError("a criterion whose unit is nodes or both has to score the nodes")
    return scores.nodes.cpu()


def _follow(checkpoint: Checkpoint, model: nn.Module, rules: NodeRules) -> Analysis:
    """Trace a network, with the channels of the image as nodes where outer layers may go."""
    analysis = analyse(model, checkpoint.spec.input, outer=rules.outer_layers)
    structure = analysis.structure
    if rules.outer_layers and (structure.image == FROZEN).all():
        raise OptionError("no channel of this network's images can be removed; leave out `outer_layers`")
    if not structure.nodes:
        raise OptionError(
            f"{checkpoint.spec.name} has no prunable node, because outputs stay; use a criterion for weights, "
            "such as snipit"
        )
    return analysis
