"""Nodes as a unit of pruning."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prunectl.checkpoints.options.pruning import AUTO
from prunectl.criteria.base.pattern import pattern_of
from prunectl.errors import OptionError, OutOfReach
from prunectl.masks import Masks
from prunectl.measuring.widths import BLOCK, WIDE
from prunectl.plugins.registry import unknown
from prunectl.pruning.ranking import NODE_SCOPES, Ranking
from prunectl.pruning.refill import refilled
from prunectl.pruning.search import fewest
from prunectl.pruning.select import SCOPES
from prunectl.pruning.units.with_nodes import WithNodes, node_scores
from prunectl.scores import Scores
from prunectl.structure.node_masks import merged, node_masks

_TIMES = 100
"""A budget below this, without a unit, is likely to mean how many times less."""


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
            now, asked = self.spending.text(self._cost(self.gone)), self._asked
            raise OptionError(f"the network already has {now}, {asked}; ask for less")
        if self.search is not None:
            least = self.search.trial(self.least, smallest=True)
            if not least.may_fit:
                self._loosened()
                raise self._out_of_reach(least.latency.value)

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
        if self.search is not None:
            return self.search.trial(self.gone).fits
        return self.spending is not None and self.spending.without(self.gone) <= self.spending.limit

    def solve(self, scores: Scores) -> float:
        """The node sparsity that the threshold gives, or the smallest that meets the budget."""
        if self.spending is None:
            assert self.threshold is not None
            ranking = self.ranking(scores)
            low = int((node_scores(self.comparable(scores))[ranking.order] <= self.threshold).sum())
            return self._solved_by(ranking, low)
        ranking, gone, spending = self.ranking(scores), self.gone, self.spending
        most = len(ranking.order)
        if self.search is not None:
            count = self.search.fewest(ranking, gone, self.least)
        else:
            count = fewest(most, lambda n: spending.without(gone | ranking.removed(n)) <= spending.limit)
        if count is None and self._loosened():
            return self.solve(scores)
        if count is None:
            raise self._out_of_reach(self._cost(gone | ranking.removed(most)))
        return self._solved_by(ranking, count)

    def _cost(self, gone: Tensor) -> float:
        """The cost without these nodes, in the terms of the budget."""
        assert self.spending is not None
        return self.spending.without(gone) if self.search is None else self.search.trial(gone).latency.value

    def _out_of_reach(self, least: float) -> OptionError:
        """What is said where the least cost, that of the smallest network, is above the budget."""
        assert self.spending is not None
        if self.search is None:
            budget = self.spending.budget
            hint = f"; did you mean {budget.text}x?" if budget.text.isdecimal() and budget.amount < _TIMES else ""
            return OptionError(f"{self._asked}, but {self.spending.text(least)} is the minimum {self._limits}{hint}")
        return OutOfReach(f"{self._asked}, but {least:.3g} ({1 / least:.3g}x) is the minimum {self._limits}")

    @property
    def _asked(self) -> str:
        """What the budget allows."""
        assert self.spending is not None
        budget = self.spending.budget
        return f"`{budget.kind}` {budget.text} allows {self.spending.text(self.spending.limit)}"

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
