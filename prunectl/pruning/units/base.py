"""A unit of pruning: weights, nodes or both, and where a network stands in it."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.criteria.base.criterion import criterion_named
from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.plugins.registry import TABLES
from prunectl.pruning.budget import Budget
from prunectl.pruning.connected import unreached_classes
from prunectl.scores import Scores


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
    """How a unit is pruned. A budget or a threshold (what scores no more goes) stands in place of a sparsity."""

    scope: str
    rules: NodeRules = EVERY_NODE
    budget: Budget | None = None
    threshold: float | None = None
    regrow_value: str | None = None
    """As in `Criterion`."""


class Unit(ABC):
    """A copy of a checkpoint's network, `model`, that is pruned, and its `masks` as they stand."""

    word = "weight"

    def __init__(self, checkpoint: Checkpoint, model: nn.Module, how: SelectionRules) -> None:
        self.checkpoint, self.model, self.how = checkpoint, model, how
        self.scope, self.rules, self.budget, self.threshold = how.scope, how.rules, how.budget, how.threshold
        self.progress = 0.0
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

    def check(self, sparsity: float | None) -> None:
        """Refuse a sparsity, or the budget, that is reached already or that this unit does not take."""
        if self.budget is not None:
            raise OptionError(
                f"--{self.budget.kind} is a target for criteria that prune nodes ({criteria_for_nodes()}); this "
                "one prunes weights: give --sparsity"
            )
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise OptionError(f"--threshold is a number that scores are compared with, got {self.threshold}")
        if self.threshold is not None and self.scope != "global":
            raise OptionError(f"--threshold compares all scores with one number: --scope is global, got '{self.scope}'")
        if sparsity is not None and self.keep(sparsity) >= self.kept:
            raise OptionError(
                f"the network is at {self.word} sparsity {self.sparsity:.4g} already, {sparsity:.4g} was asked; "
                "ask for more"
            )

    @abstractmethod
    def select(self, scores: Scores, sparsity: float) -> Masks:
        """The masks at a sparsity, which prune what scores lowest."""

    def within_budget(self) -> bool:
        """Whether there is a budget, and the network is within it."""
        return False

    @abstractmethod
    def solve(self, scores: Scores) -> float:
        """The sparsity that a budget, a threshold or a pattern means for these scores."""

    @property
    def chosen(self) -> dict[str, Any]:
        """The rules that were followed, for the history."""
        return {}

    def lost_classes(self) -> list[int]:
        """The classes to which no path of kept weights leads any more."""
        return unreached_classes(self.model, self.checkpoint.spec.input, self.masks)

    def result(self) -> dict[str, Any]:
        """What is reached, for the history, and the classes that nothing reaches, if there are any."""
        lost = self.lost_classes()
        return {
            "weight_sparsity": 1 - self.masks.kept(self.model) / self.checkpoint.dense.weights,
            **({"unreached_classes": lost} if lost else {}),
        }


def criteria_for_nodes() -> str:
    """The built-in criteria that prune nodes alone."""
    methods = {name: criterion_named(name) for name in TABLES["criterion"]}
    return ", ".join(name for name, method in methods.items() if method.unit == "nodes" and method.when != "during")
