"""Nodes as a unit of pruning, on their own or with weights."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import AUTO
from prunectl.checkpoints.original_shapes import nodes_present
from prunectl.criteria.base.pattern import pattern_of
from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.measuring.widths import BLOCK, WIDE
from prunectl.plugins.registry import unknown
from prunectl.pruning.ceiling import ceiling_for, sparsity_for, thin_groups
from prunectl.pruning.multiples import Multiples, original_shapes, original_sizes
from prunectl.pruning.node_costs import BudgetMeter
from prunectl.pruning.normalization import normalized
from prunectl.pruning.ranking import NODE_SCOPES, Ranking, rank
from prunectl.pruning.refill import refilled
from prunectl.pruning.rules import NodeRules, SelectionRules
from prunectl.pruning.search import fewest
from prunectl.pruning.select import SCOPES
from prunectl.pruning.units.base import Unit
from prunectl.scores import Scores
from prunectl.structure.costs import costs_without
from prunectl.structure.keep import nodes_on
from prunectl.structure.liveness import cut_off
from prunectl.structure.node_masks import dead_nodes, merged, node_masks
from prunectl.structure.nodes import FROZEN
from prunectl.structure.trace import Analysis, analyse

_LATENCY_CANDIDATES = 8


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
        found = normalized(self.rules.normalize or "none", _of_nodes(scores), left, self.structure)
        return replace(scores, nodes=found)

    def ranking(self, scores: Scores) -> Ranking:
        """The nodes in the order of removal."""
        return rank(
            self.structure,
            _of_nodes(self.comparable(scores)),
            ~self.gone,
            scope=self.scope,
            min_nodes=self.rules.min_nodes,
            multiples=self.multiples if self.rules.multiple_of != 1 else None,
            max_pruned=self.rules.max_pruned or 1.0,
            staying=self.staying,
            unscored=scores.unscored,
            sizes=self.sizes,
            model=self.model,
        )

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

    def many(self, nodes: Tensor) -> int:
        """The number of these nodes, bool (nodes,), that a sparsity counts."""
        return int((nodes & self.counted).sum())


class Nodes(WithNodes):
    """Nodes are removed."""

    word = "node"

    def lost_classes(self) -> list[int]:
        """Empty: every layer keeps a node with all its weights, so the network need not be run."""
        return []

    def check_keep(self, sparsity: float | None) -> None:
        """Refuse `keep` patterns that hold every node. `select` refuses targets that cannot be reached."""
        if self.protected and bool((self.staying | self.gone).all()):
            raise OptionError("`keep` covers all remaining nodes, so nothing can be pruned; keep fewer layers")

    @property
    def total(self) -> int:
        """The number of nodes of the original dense network."""
        return self.nodes

    @property
    def kept(self) -> int:
        """The number of alive nodes."""
        return self.many(~self.gone) + self.alone

    def check(self, sparsity: float | None) -> None:
        """Refuse a target that is already reached, or a scope for weights."""
        self.asked = sparsity
        if self.scope not in NODE_SCOPES:
            if pattern_of(self.scope) is not None or self.scope in SCOPES:
                raise OptionError(f"scope {self.scope} is for weights; for nodes, use {' or '.join(NODE_SCOPES)}")
            raise unknown("scope", self.scope, NODE_SCOPES)
        if self.spending is None:
            super().check(sparsity)
            return
        self.check_keep(sparsity)
        if self.within_budget():
            now, budget = self.spending.text(self.spending.without(self.gone)), self.spending.budget
            limit = self.spending.text(self.spending.limit)
            raise OptionError(
                f"the network already has {now}, `{budget.kind}` {budget.text} allows {limit}; use a lower budget"
            )

    def select(self, scores: Scores, sparsity: float) -> Masks:
        """Keep an exact count of nodes, or, in multiples, as many as possible up to it."""
        ranking, keep = self.ranking(scores), self.keep(sparsity)
        excess = self.kept - keep
        if self.solved is not None and self.solved[0] == keep:
            count: int | None = self.solved[1]
        else:
            count = fewest(len(ranking.order), lambda n: self.many(ranking.removed(n)) >= excess)
        if count is None and self._loosened():
            return self.select(scores, sparsity)
        if count is None:
            most = 1 - (self.kept - self.many(ranking.removed(len(ranking.order)))) / self.total
            asked = sparsity if self.asked is None else self.asked  # a single round asks for less than the target
            raise OptionError(f"node sparsity {asked:.15g} was requested, but {most:.4g} is the maximum {self._limits}")
        removed = ranking.removed(count)
        self.went = torch.cat([self.went, ranking.order[removed[ranking.order]]])
        fits = partial(self._fits, keep=keep)
        if not (self._may_refill and fits(removed | self.gone)):
            return merged(self.masks, node_masks(self.structure, removed, self.model))
        uncounted = torch.zeros_like(removed) if self.spending is not None else ~self.counted
        others = torch.zeros_like(removed).index_fill_(0, self.went[uncounted[self.went]], True)
        removed = others | refilled(self.went[~uncounted[self.went]], self.multiples, fits)
        self.went = self.went[removed[self.went]]
        return merged(self.checkpoint.masks, node_masks(self.structure, removed, self.model))

    def _loosened(self) -> bool:
        """Drop the default ceiling; returns whether there was one."""
        had = not self.firm and self.rules.max_pruned != 1
        self.rules = replace(self.rules, max_pruned=1.0) if had else self.rules
        return had

    @property
    def _may_refill(self) -> bool:
        """Whether the target may leave room for nodes: a counted budget, or a sparsity with differing multiples."""
        counted = self.rules.multiple_of == AUTO if self.spending is None else self.spending.budget.kind != "latency"
        return counted and self.rules.refill

    def _fits(self, removed: Tensor, *, keep: int) -> bool:
        """Whether the checkpoint's network without these nodes is within the budget, or keeps at most `keep` nodes."""
        removed = self.begun | removed
        if self.spending is None:
            return self.many(~removed) + self.alone <= keep
        return self.spending.without(removed) <= self.spending.limit

    def within_budget(self) -> bool:
        """Whether there is a budget, and the network is within it."""
        return self.spending is not None and self.spending.without(self.gone) <= self.spending.limit

    def solve(self, scores: Scores) -> float:
        """The node sparsity that the threshold gives, or the smallest that meets the budget."""
        if self.spending is None:
            assert self.threshold is not None
            ranking = self.ranking(scores)
            low = int((_of_nodes(self.comparable(scores))[ranking.order] <= self.threshold).sum())
            return self._solved_by(ranking, low)
        ranking, gone, spending = self.ranking(scores), self.gone, self.spending

        def fits(count: int) -> bool:
            return spending.without(gone | ranking.removed(count)) <= spending.limit

        tries = _LATENCY_CANDIDATES if spending.budget.kind == "latency" else None
        count = fewest(len(ranking.order), fits, tries)
        if count is None and self._loosened():
            return self.solve(scores)
        if count is None:
            least = spending.without(gone | ranking.removed(len(ranking.order)))
            raise OptionError(
                f"`{spending.budget.kind}` {spending.budget.text} allows {spending.text(spending.limit)}, "
                f"but {spending.text(least)} is the minimum {self._limits}"
            )
        return self._solved_by(ranking, count)

    def _solved_by(self, ranking: Ranking, count: int) -> float:
        """The sparsity at which the first `count` nodes of a ranking are removed."""
        removed = self.many(ranking.removed(count))
        self.solved = self.kept - removed, count
        return (self.total - self.kept + removed) / self.total

    @property
    def _limits(self) -> str:
        """A text on why no more can be removed."""
        rules = self.rules
        multiples = "" if rules.multiple_of == 1 else f", in multiples of {rules.multiple_of}"
        if rules.multiple_of == AUTO:
            multiples = f", in multiples of {BLOCK} in groups of more than {WIDE}"
        kept = f" and {int(self.staying.sum())} in the layers of `keep`" if self.protected else ""
        most = rules.max_pruned or 1.0
        ceiling = f", and no group losing more than {most:g} (`max_pruned`)" if most < 1 else ""
        return (
            f"with {rules.min_nodes} or more nodes left in every layer{kept}{multiples}{ceiling}; ask for less pruning"
        )

    def result(self) -> dict[str, Any]:
        """Sparsities, costs, and, for a latency target, the latency relative to the dense network, measured again."""
        result = super().result()
        if self.spending is not None and self.spending.budget.kind == "latency":
            found = self.spending.latency(self.gone)
            result |= {"latency": found.value, "latency_low": found.low, "latency_high": found.high}
        return result


def _of_nodes(scores: Scores) -> Tensor:
    """The scores of the nodes, on the cpu."""
    if scores.nodes is None:
        raise OptionError("a criterion whose unit is nodes or both must score the nodes")
    return scores.nodes.cpu()


def _follow(checkpoint: Checkpoint, model: nn.Module, rules: NodeRules) -> Analysis:
    """Trace a network, with the channels of the image as nodes if outer layers may be pruned."""
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
