"""What a criterion prunes - weights, nodes or both - and how one round changes the masks."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.budget import Budget
from prunectl.checkpoint import Checkpoint, build
from prunectl.criterion import Criterion, criterion_named
from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.registry import TABLES
from prunectl.scores import Scores
from prunectl.select import select
from prunectl.structure.costs import costs_without, float32_bytes
from prunectl.structure.joint import select_both
from prunectl.structure.nodes import FROZEN, Structure, cut_off
from prunectl.structure.ranking import Ranking, rank
from prunectl.structure.removal import dead_nodes, merged, node_masks
from prunectl.structure.surgery import remove
from prunectl.structure.trace import trace
from prunectl.timing import relative_latency

_LATENCY_CANDIDATES = 8


@dataclass(frozen=True)
class NodeRules:
    """What stays: `min_nodes` on every axis, a multiple of `multiple_of` in every group.

    The channels of the image stay too, unless `outer_layers` lets them go.
    """

    min_nodes: int = 1
    multiple_of: int = 1
    outer_layers: bool = False


EVERY_NODE = NodeRules()


class Unit(ABC):
    """The network that is pruned, `masks` as they stand, and the selection of a round."""

    word = "weight"

    def __init__(self, checkpoint: Checkpoint, model: nn.Module, scope: str, rules: NodeRules) -> None:
        self.checkpoint, self.model, self.scope, self.rules = checkpoint, model, scope, rules
        self.take(checkpoint.masks)

    def take(self, masks: Masks) -> None:
        """Make these the masks, and prune the network with them."""
        self.masks = masks
        masks.apply_(self.model)

    @property
    def inputs(self) -> tuple[Any, ...]:
        """What a scorer takes behind model and batches."""
        return ()

    @property
    def total(self) -> int:
        """How many the original dense network has."""
        return self.checkpoint.dense.weights

    @property
    def kept(self) -> int:
        """How many are kept now."""
        return self.masks.kept(self.model)

    @property
    def sparsity(self) -> float:
        """The sparsity now."""
        return 1 - self.kept / self.total

    def keep(self, sparsity: float) -> int:
        """How many are kept at a sparsity."""
        return self.total - round(sparsity * self.total)

    def check(self, sparsity: float | None, budget: Budget | None) -> None:
        """Refuse a target that is reached already, or that this unit does not take."""
        if budget is not None:
            raise OptionError(
                f"--{budget.kind} is a target for criteria that prune nodes ({_for_nodes()}); this one prunes weights: "
                "give --sparsity"
            )
        if sparsity is not None and self.keep(sparsity) >= self.kept:
            raise OptionError(
                f"the network is at {self.word} sparsity {self.sparsity:.4g} already, {sparsity:.4g} was asked; "
                "ask for more"
            )

    @abstractmethod
    def selected(self, scores: Scores, sparsity: float) -> Masks:
        """The masks at a sparsity, which prune what scores lowest."""

    def within(self, budget: Budget) -> bool:
        """Whether the network is within a budget already."""
        return False

    def sparsity_for(self, scores: Scores, budget: Budget) -> float:
        """The least sparsity that is within a budget."""
        raise NotImplementedError

    @property
    def chosen(self) -> dict[str, Any]:
        """The rules that were followed, for the history."""
        return {}

    def result(self, budget: Budget | None) -> dict[str, Any]:
        """What is reached, for the history; latency where that was the budget."""
        return {"weight_sparsity": 1 - self.masks.kept(self.model) / self.checkpoint.dense.weights}


class Weights(Unit):
    """Single weights go."""

    def selected(self, scores: Scores, sparsity: float) -> Masks:
        """Keep an exact count of weights."""
        return Masks({**self.masks, **select(scores, self.masks, self.keep(sparsity), self.scope)})


class _WithNodes(Unit):
    """What units that remove nodes share: the structure, and which of its nodes are gone."""

    def __init__(self, checkpoint: Checkpoint, model: nn.Module, scope: str, rules: NodeRules) -> None:
        self.structure = _follow(model, checkpoint.spec.input, rules)
        super().__init__(checkpoint, model, scope, rules)
        image = len(torch.unique(self.structure.image[self.structure.image != FROZEN]))
        self.nodes = max(checkpoint.dense.nodes or 0, self.structure.nodes - image) + image
        if not self.structure.nodes:
            raise OptionError(
                f"{checkpoint.spec.name} has no node that can go, its outputs stay; take a criterion for weights, such "
                "as snipit"
            )

    @property
    def chosen(self) -> dict[str, Any]:
        """All rules."""
        return asdict(self.rules)

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The structure."""
        return (self.structure,)

    def take(self, masks: Masks) -> None:
        """Find the nodes that the masks remove, bool (nodes,)."""
        super().take(masks)
        self.gone = dead_nodes(self.structure, masks, self.model)

    def ranking(self, scores: Scores) -> Ranking:
        """The nodes in the order in which they go."""
        assert scores.nodes is not None
        rules = self.rules
        return rank(
            self.structure,
            scores.nodes,
            ~self.gone,
            scope=self.scope,
            min_nodes=rules.min_nodes,
            multiple_of=rules.multiple_of,
        )

    def result(self, budget: Budget | None) -> dict[str, Any]:
        """Sparsities, and the costs of the network without the nodes that are removed."""
        return {
            "node_sparsity": 1 - int((~self.unreached).sum()) / self.nodes,
            **super().result(budget),
            **asdict(costs_without(self.structure, self.model, self.gone)),
        }

    @property
    def unreached(self) -> Tensor:
        """The nodes that count as pruned, bool (nodes,)."""
        return self.gone


class Both(_WithNodes):
    """Weights and nodes go, ranked together; the sparsity is that of weights."""

    def check(self, sparsity: float | None, budget: Budget | None) -> None:
        """Refuse a scope other than the global one, too."""
        if self.scope != "global":
            raise OptionError(f"weights and nodes are ranked together: --scope is global, got '{self.scope}'")
        super().check(sparsity, budget)

    @property
    def unreached(self) -> Tensor:
        """The nodes that are removed, and those that no path of kept weights reaches."""
        return self.gone | cut_off(self.structure, self.model, self.masks)

    def selected(self, scores: Scores, sparsity: float) -> Masks:
        """Keep an exact count of weights."""
        keep = self.keep(sparsity)
        return select_both(self.structure, self.model, scores, self.ranking(scores), self.masks, keep)


class Nodes(_WithNodes):
    """Nodes go."""

    word = "node"

    @property
    def total(self) -> int:
        """How many nodes the original dense network has."""
        return self.nodes

    @property
    def kept(self) -> int:
        """How many nodes are alive."""
        return int((~self.gone).sum())

    def selected(self, scores: Scores, sparsity: float) -> Masks:
        """Keep an exact count of nodes, or, in multiples, the most that are no more than that."""
        ranking, excess = self.ranking(scores), self.kept - self.keep(sparsity)
        count = fewest(len(ranking.order), lambda n: int(ranking.removed(n).sum()) >= excess)
        if count is None:
            most = 1 - (self.kept - int(ranking.removed(len(ranking.order)).sum())) / self.total
            raise OptionError(f"node sparsity {sparsity:.4g} was asked, {most:.4g} is the most {self._limits}")
        return merged(self.masks, node_masks(self.structure, ranking.removed(count), self.model))

    def check(self, sparsity: float | None, budget: Budget | None) -> None:
        """Refuse a target that is reached already."""
        if budget is None:
            super().check(sparsity, None)
        elif self.within(budget):
            now, limit = self._cost(budget, self.gone), budget.limit(self._dense(budget))
            raise OptionError(
                f"the network has {_told(budget, now)} already, --{budget.kind} {budget.text} asks for "
                f"{_told(budget, limit)}; ask for less"
            )

    def within(self, budget: Budget) -> bool:
        """Whether the network is within a budget already."""
        return self._cost(budget, self.gone) <= budget.limit(self._dense(budget))

    def sparsity_for(self, scores: Scores, budget: Budget) -> float:
        """The node sparsity of the first nodes that have to go for a budget."""
        ranking, gone, limit = self.ranking(scores), self.gone, budget.limit(self._dense(budget))

        def fits(count: int) -> bool:
            return self._cost(budget, gone | ranking.removed(count)) <= limit

        tries = _LATENCY_CANDIDATES if budget.kind == "latency" else None
        count = fewest(len(ranking.order), fits, tries)
        if count is None:
            least = self._cost(budget, gone | ranking.removed(len(ranking.order)))
            raise OptionError(
                f"--{budget.kind} {budget.text} asks for {_told(budget, limit)}, {_told(budget, least)} is the least "
                + self._limits
            )
        return (self.total - self.kept + int(ranking.removed(count).sum())) / self.total

    def result(self, budget: Budget | None) -> dict[str, Any]:
        """Sparsities, costs, and the latency relative to the dense network, measured once more."""
        latency = {"latency": self._cost(budget, self.gone)} if budget and budget.kind == "latency" else {}
        return {**super().result(budget), **latency}

    @property
    def _limits(self) -> str:
        """Why no more can go."""
        rules = self.rules
        multiples = f", in multiples of {rules.multiple_of}" if rules.multiple_of > 1 else ""
        return f"with {rules.min_nodes} or more nodes left on every axis{multiples}; ask for less pruning"

    def _dense(self, budget: Budget) -> float:
        """What the original dense network costs."""
        dense = self.checkpoint.dense
        size = sum(float32_bytes(tensor, tensor.numel()) for tensor in self.original.state_dict().values())
        return {"params": dense.parameters, "flops": dense.flops, "size": size, "latency": 1.0}[budget.kind]

    @cached_property
    def original(self) -> nn.Module:
        """A network as large as the original dense one."""
        if sum(p.numel() for p in self.model.parameters()) == self.checkpoint.dense.parameters:
            return self.model
        return build(self.checkpoint.spec).to(self.checkpoint.device)

    def _cost(self, budget: Budget, gone: Tensor) -> float:
        """What the network costs when nodes are gone; its latency is relative to the dense one's."""
        if budget.kind == "latency":
            small, _ = remove(self.model, Masks.dense(), self.structure, gone)
            return relative_latency(small, self.original, self.checkpoint.spec.input)
        costs = costs_without(self.structure, self.model, gone)
        return {"params": costs.parameters, "flops": costs.flops, "size": costs.bytes}[budget.kind]


UNITS: dict[str, type[Unit]] = {"weights": Weights, "nodes": Nodes, "both": Both}


def unit_of(method: Criterion, checkpoint: Checkpoint, model: nn.Module, scope: str, rules: NodeRules) -> Unit:
    """What a criterion prunes of a network, which is a copy of the checkpoint's.

    Raises:
        OptionError: rules for nodes where none are pruned, or a unit that is none.
        StructureError: nodes are to be pruned, and the network cannot be followed.
    """
    if method.unit not in UNITS:
        raise OptionError(f"a criterion's unit is weights, nodes or both, got '{method.unit}'")
    if method.unit == "weights" and rules != EVERY_NODE:
        raise OptionError(
            f"--min-nodes, --multiple-of and --outer-layers go with criteria that prune nodes ({_for_nodes()}); this "
            "one prunes the weights of all layers"
        )
    return UNITS[method.unit](checkpoint, model, scope, rules)


def fewest(most: int, fits: Callable[[int], bool], tries: int | None = None) -> int | None:
    """The least count up to `most` that fits, None if `most` does not; every count above one that fits, fits too.

    With `tries`, so many counts are tried at most, and the least of those that fit is taken.
    """
    if not fits(most):
        return None
    low, high, tried = -1, most, 1
    while high - low > 1 and (tries is None or tried < tries):
        middle, tried = (low + high) // 2, tried + 1
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _follow(model: nn.Module, shape: tuple[int, int, int], rules: NodeRules) -> Structure:
    """Trace a network, with the channels of the image as nodes where outer layers may go."""
    structure = trace(model, shape)  # `outer=rules.outer_layers` goes here
    if rules.outer_layers and (structure.image == FROZEN).all():
        raise OptionError("--outer-layers: no channel of this network's images can be removed; leave it out")
    return structure


def _for_nodes() -> str:
    """The built-in criteria that prune nodes alone."""
    return ", ".join(name for name in TABLES["criterion"] if criterion_named(name).unit == "nodes")


def _told(budget: Budget, amount: float) -> str:
    """A cost in words."""
    if budget.kind == "latency":
        return f"{amount:.3g} of the dense latency"
    return f"{int(amount):,} {({'params': 'parameters', 'flops': 'FLOPs', 'size': 'bytes'})[budget.kind]}"
