"""Rounds of pruning between the epochs of a training."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from prunectl.checkpoint import Checkpoint
from prunectl.criterion import criterion_named
from prunectl.during import During
from prunectl.errors import OptionError
from prunectl.expand import nodes_present, retraceable
from prunectl.images import ImageData, mixed
from prunectl.masks import prunable
from prunectl.prune import endless
from prunectl.recipe import Recipe
from prunectl.registry import keyword_options, resolve
from prunectl.scores import Scores
from prunectl.seeds import seed_for
from prunectl.shrink import shrink
from prunectl.unit import NodeRules, Unit
from prunectl.units import WithNodes, unit_of


class Rounds:
    """What is pruned after which epochs of a training, and, in `events`, what came of it so far."""

    def __init__(
        self,
        during: During,
        recipe: Recipe,
        checkpoint: Checkpoint,
        data: ImageData,
        events: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Refuse what cannot be reached now rather than after hours; `events` are those of rounds that are done."""
        self.during, self.recipe, self.images = during, recipe, data.train
        self.method = criterion_named(during.criterion)
        self.rules = NodeRules(during.min_nodes, during.multiple_of, during.outer_layers)
        self.keywords = keyword_options(self.method.scorer, during.options, f"criterion {during.criterion}")
        self.schedule, self.scope = during.schedule or self.method.schedule, during.scope or self.method.scope
        self.sparsities: tuple[float, ...] = resolve("schedule", self.schedule)(during.sparsity, during.prune_steps)
        self.epochs = during.epochs(len(self.sparsities))
        if recipe.epochs <= self.epochs[-1]:
            raise OptionError(
                f"the last of {len(self.epochs)} rounds of pruning comes after epoch {self.epochs[-1]}, which needs "
                f"--epochs {self.epochs[-1] + 1} or more, got {recipe.epochs}; or give a smaller --prune-delay, "
                "--prune-every or --steps"
            )
        self.events = list(events)
        self.now = self.events[-1] if events else self._begun(checkpoint)

    def due(self, epoch: int) -> bool:
        """Whether a round comes after this epoch; 1 is the first."""
        return len(self.events) < len(self.epochs) and epoch == self.epochs[len(self.events)]

    def run(self, checkpoint: Checkpoint) -> Checkpoint:
        """Prune the network, in place, by the round that is due; where nodes go, a smaller network comes back."""
        i = len(self.events)
        whole = self._followed(checkpoint)
        unit = self._unit(whole)
        if unit.keep(self.sparsities[i]) < unit.kept:
            seed = mixed(self.recipe.seed, i)
            torch.manual_seed(seed_for("prune", seed))
            batches = endless(self.images, whole.preprocessing, whole.device, self.recipe.batch_size, seed)
            scores = self.method.scorer(whole.model, batches, *unit.inputs, **self.keywords)
            unit.take(unit.selected(scores, self.sparsities[i]))
        found = unit.result()
        pruned = replace(whole, masks=unit.masks).after("prune", self.chosen).noting(found)
        if isinstance(unit, WithNodes):
            if unit.gone.any():
                pruned = shrink(pruned, constants=False)
                found |= {key: value for key, value in pruned.history[-1]["result"].items() if key != "removed"}
            found["nodes"] = nodes_present(pruned)
        self.events.append({"epoch": self.epochs[i], **found})
        self.now = self.events[-1]
        return pruned

    @property
    def chosen(self) -> dict[str, Any]:
        """How it is pruned, for the history."""
        return {**asdict(self.during), "schedule": self.schedule, "scope": self.scope, "options": self.keywords}

    def result(self) -> dict[str, Any]:
        """What is reached, and every event on the way, for the history."""
        return {**{key: value for key, value in self.now.items() if key != "epoch"}, "events": self.events}

    def _followed(self, checkpoint: Checkpoint) -> Checkpoint:
        return checkpoint if self.method.unit == "weights" else retraceable(checkpoint)

    def _unit(self, whole: Checkpoint) -> Unit:
        return unit_of(self.method, whole, whole.model, scope=self.scope, rules=self.rules, budget=None)

    def _begun(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Where the network stands before the first round."""
        unit = self._unit(self._followed(checkpoint))
        target = self.sparsities[-1]
        unit.check(target)
        scores = {name: torch.ones_like(weight) for name, weight in prunable(unit.model).items()}
        nodes = torch.ones(unit.structure.nodes) if isinstance(unit, WithNodes) else None
        unit.selected(Scores(scores, nodes), target)
        return unit.result()
