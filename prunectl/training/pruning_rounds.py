"""Rounds of pruning between the epochs of a training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.checkpoints.options.training import Recipe
from prunectl.checkpoints.options.values import recorded
from prunectl.checkpoints.original_shapes import nodes_present, retraceable
from prunectl.criteria.base.callback import Callback
from prunectl.criteria.base.criterion import criterion_named
from prunectl.data.images import ImageData, mixed
from prunectl.errors import OptionError
from prunectl.masks import prunable
from prunectl.pruning.options import method_of, selection
from prunectl.pruning.round import PLACEHOLDER, RoundTargets, prune_round_, schedule_named
from prunectl.pruning.rules import SelectionRules
from prunectl.pruning.scoring import batches_for, scored
from prunectl.pruning.select import pattern_of
from prunectl.pruning.shrink import shrink
from prunectl.pruning.units.base import Unit
from prunectl.pruning.units.nodes import WithNodes
from prunectl.pruning.units.table import unit_of
from prunectl.scores import Scores
from prunectl.structure.keep import nodes_on, parameters_named
from prunectl.structure.node_masks import dead_nodes
from prunectl.structure.trace import trace
from prunectl.torchtools.rng import forked, seed_for


class PruningRounds:
    """The rounds of pruning of a training, after which epochs they come, and in `events` the results of those done."""

    def __init__(
        self,
        during: GradualPruning,
        recipe: Recipe,
        checkpoint: Checkpoint,
        data: ImageData,
        events: Sequence[dict[str, Any]] = (),
        passed: int = 0,
    ) -> None:
        """Check at once what would otherwise fail after hours.

        `events` are the results of the rounds that are done; `passed` then counts the rounds that are skipped because
        the network was that sparse at the start.

        Raises:
            OptionError: a target that cannot be reached, or options that do not go together.
        """
        self.during, self.recipe, self.data = during, recipe, data
        self.method = method_of(during)
        self.schedule = during.schedule or self.method.schedule
        self.how = selection(during, self.method)
        self._check_criterion()
        what = f"criterion {during.criterion}"
        self.keywords, self.callback_options = self.method.options(dict(during.options), what)
        whole = self._followed(checkpoint)
        unit = None if events else unit_of(self.method, whole, whole.model, self.how)
        self.passed = passed
        if unit is not None and during.sparsity is not None and not self.method.regrow_value:
            self.passed = sum(unit.keep(aim) >= unit.kept for aim in self._schedule(during.sparsity)[:-1])
        self.epochs = during.epochs(self._count())
        self._check_epochs()
        self.events = list(events)
        self.now = self.events[-1] if unit is None else self._begun(whole, unit)
        if self.method.init_criterion is not None and (
            self.events[0]["epoch"] == 0 if unit is None else self._is_dense(unit)
        ):
            self.epochs = (0, *self.epochs)

    @staticmethod
    def of(recipe: Recipe, checkpoint: Checkpoint, data: ImageData, saved: Mapping[str, Any]) -> "PruningRounds | None":
        """The pruning of a recipe, from the values that a stopped training saved; these are empty at the start."""
        if recipe.prune is None:
            return None
        return PruningRounds(recipe.prune, recipe, checkpoint, data, saved.get("events", ()), saved.get("passed", 0))

    def state_dict(self) -> dict[str, Any]:
        """The values of a resume file from which `of` builds the same rounds."""
        return {"events": list(self.events), "passed": self.passed}

    def due(self, epoch: int) -> bool:
        """Whether a round follows this epoch; 1 is the first epoch, 0 the start."""
        return len(self.events) < len(self.epochs) and epoch == self.epochs[len(self.events)]

    def rewinds_after(self, epoch: int) -> bool:
        """Whether the training rewinds to the end of this epoch."""
        return self.method.rewinds and epoch == (self.during.rewind_to or 0)

    @property
    def scheduled_epochs(self) -> int:
        """The length of the learning-rate schedule in epochs: shorter than the training where it rewinds."""
        if not self.method.rewinds:
            return self.recipe.epochs
        to = self.during.rewind_to or 0
        return max(to + self.recipe.epochs - self.epochs[-1], to + self.during.prune_every, self.epochs[0])

    def callback(self, checkpoint: Checkpoint) -> Callback | None:
        """The criterion's callback for the training of this network up to the next round."""
        if self.method.callback is None or len(self.events) == len(self.epochs):
            return None
        structure = None
        if self._follows_nodes:
            if self._followed(checkpoint).model is not checkpoint.model:
                raise OptionError(
                    f"{self.during.criterion} takes part in every step, which a network on swapped modules or a "
                    "rewritten graph does not allow; start from the network before it was shrunk"
                )
            structure = trace(checkpoint.model, checkpoint.spec.input, outer=self.how.rules.outer_layers)
            protected = parameters_named(checkpoint.model, self.how.keep)
            structure = structure.frozen(nodes_on(structure, protected))
        images = len(self.data.train)
        with forked(checkpoint.device):
            torch.manual_seed(seed_for("companion", mixed(self.recipe.seed, len(self.events))))
            made: Callback = self.method.callback(checkpoint.model, structure, images, **self.callback_options)
        if structure is not None:
            made.without_(dead_nodes(structure, checkpoint.masks, checkpoint.model))
        return made.to(checkpoint.device)

    def run(self, checkpoint: Checkpoint, scores: Scores | None = None) -> Checkpoint:
        """Run the round that is due on the network, in place; a smaller network is returned where nodes are removed."""
        i = len(self.events)
        first = (
            criterion_named(self.method.init_criterion) if self.method.init_criterion and not self.epochs[i] else None
        )
        method = first or self.method
        whole = self._followed(checkpoint)
        unit = unit_of(
            method, whole, whole.model, SelectionRules(method.scope, keep=self.how.keep) if first else self.how
        )
        seed = mixed(self.recipe.seed, i)
        torch.manual_seed(seed_for("prune", seed))
        targets = RoundTargets(self._sparsities, self.during.sparsity)

        def score() -> Scores:
            batches = batches_for(whole, self.data, self.recipe.batch_size, True, seed)
            if first is not None:
                return scored(method, unit, batches, {}, amp=self.recipe.amp, progress=self._progress(i))
            batches = batches.of(self.during.criterion, method.scorer, self.keywords)
            return scored(method, unit, batches, self.keywords, amp=self.recipe.amp, progress=self._progress(i))

        known = score if scores is None else lambda: scores
        prune_round_(unit, targets, i, known, fewer_than=None if method.regrow_value else unit.kept)
        found = unit.result()
        pruned = replace(whole, masks=unit.masks).after("prune", self.chosen).with_result(found)
        if isinstance(unit, WithNodes):
            # a callback that follows the nodes needs the whole shape up to the last round
            if unit.gone.any() and not (self._follows_nodes and i + 1 < len(self.epochs)):
                pruned = shrink(pruned, constants=False)
                found |= {key: value for key, value in pruned.history[-1].result.items() if key != "removed"}
                found["nodes"] = nodes_present(pruned)
            found.setdefault("nodes", unit.nodes - round(found["node_sparsity"] * unit.nodes))
        self.events.append({"epoch": self.epochs[i], **found})
        self.now = self.events[-1]
        return pruned

    @property
    def chosen(self) -> dict[str, Any]:
        """The options of the pruning, for the history."""
        options = {**self.keywords, **self.callback_options}
        own = {"schedule": self.schedule, "scope": self.how.scope, "normalize": self.how.rules.normalize}
        return {**recorded(self.during), **own, "options": options}

    def result(self) -> dict[str, Any]:
        """The sparsities reached, and the result of every round, for the history."""
        return {**{key: value for key, value in self.now.items() if key != "epoch"}, "events": self.events}

    def _count(self) -> int:
        """The number of rounds; a method that drops and grows does so for most of the training."""
        during = self.during
        if self.method.init_criterion is None:
            return len(self._schedule(during.sparsity or PLACEHOLDER))
        if during.sparsity is None:
            raise OptionError(f"{during.criterion} holds one sparsity: give `sparsity` in place of `threshold`")
        if during.schedule not in (None, self.method.schedule):
            raise OptionError(f"{during.criterion} holds one sparsity: leave out `schedule`")
        last = math.ceil(self.method.stop_after * self.recipe.epochs) - 1
        most = (last - during.prune_delay) // during.prune_every
        return during.steps or max(most, 1)

    def _schedule(self, target: float) -> tuple[float, ...]:
        """The sparsities on the way to a target, without those that the network had passed at the start."""
        falls = self.method.regrow_value is not None or self.method.init_criterion is not None
        planned = schedule_named(self.schedule, self.during.steps or self.method.steps, may_fall=falls)
        return planned(target)[self.passed :]

    def _sparsities(self, target: float) -> tuple[float, ...]:
        """The sparsity after every round; a method that drops and grows holds the target."""
        return self._schedule(target) if self.method.init_criterion is None else (target,)

    def _progress(self, i: int) -> float:
        """How far round `i` is: of all rounds, or of the training for a method that drops and grows."""
        if self.method.init_criterion is None:
            return i / len(self.epochs)
        return min(self.epochs[i] / (self.method.stop_after * self.recipe.epochs), 1.0)

    def _check_criterion(self) -> None:
        """Refuse a scope or criterion that does not prune between epochs."""
        name, scope = self.during.criterion, self.how.scope
        if pattern_of(scope) is not None:
            raise OptionError(f"`scope` {scope} is reached at once: train first, then prune")
        if self.method.regrow_value == "original":
            raise OptionError(f"{name} returns weights to the values before it began: prunectl prune first")
        if self.method.init_criterion is not None and scope != self.method.scope:
            raise OptionError(f"{name} keeps the number of weights of every layer: leave out `scope`")

    def _check_epochs(self) -> None:
        """Refuse a training that is too short, and a rewind to an epoch after the first round."""
        last, to = self.epochs[-1], self.during.rewind_to
        if self.recipe.epochs <= last:
            raise OptionError(
                f"the last of {len(self.epochs)} rounds of pruning comes after epoch {last}, which needs "
                f"`epochs` {last + 1} or more, got {self.recipe.epochs}; or give a smaller `prune_delay`, "
                "`prune_every` or `steps`"
            )
        if to is not None and not self.method.rewinds:
            raise OptionError(f"`rewind_to` is for criteria that rewind, such as imp; {self.during.criterion} does not")
        if self.method.rewinds and (to or 0) >= self.epochs[0]:
            raise OptionError(
                f"`rewind_to` {to} is not before the first round of pruning, which comes after epoch {self.epochs[0]}"
            )

    @property
    def _follows_nodes(self) -> bool:
        """Whether the callback needs the network's structure."""
        return self.method.callback is not None and self.method.callback.needs_structure

    def _followed(self, checkpoint: Checkpoint) -> Checkpoint:
        return checkpoint if self.method.unit == "weights" else retraceable(checkpoint)

    def _is_dense(self, unit: Unit) -> bool:
        """Whether the network is still to be pruned to the target of a method that drops and grows."""
        return unit.keep(self.during.sparsity or 0.0) < unit.kept

    def _begun(self, whole: Checkpoint, unit: Unit) -> dict[str, Any]:
        """Check the target and the scorer; returns the sparsities before the first round."""
        unit.check(self.during.sparsity)
        if self.during.sparsity is not None:
            scores = {name: torch.ones_like(weight) for name, weight in prunable(unit.model).items()}
            nodes = torch.ones(unit.structure.nodes) if isinstance(unit, WithNodes) else None
            unit.select(Scores(scores, nodes), self.during.sparsity)
        with forked(whole.device):  # so that the scorer's own errors come now
            batches = batches_for(whole, self.data, 2, True, 0)
            batches = batches.of(self.during.criterion, self.method.scorer, self.keywords)
            scored(self.method, unit, batches, self.keywords, amp=self.recipe.amp)
        return unit.result()
