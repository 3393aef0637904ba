"""Runs rounds of pruning between the steps of a training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import GradualPruning, Interval
from prunectl.checkpoints.options.training import Recipe
from prunectl.checkpoints.options.values import recorded
from prunectl.checkpoints.original_shapes import nodes_present, retraceable
from prunectl.criteria.base.callback import Callback
from prunectl.criteria.base.criterion import Criterion, Exploration, criterion_named
from prunectl.data.images import ImageData, mixed
from prunectl.errors import OptionError
from prunectl.masks import Masks, prunable
from prunectl.pruning.options import method_of, selection
from prunectl.pruning.round import PLACEHOLDER, RoundTargets, prune_round_, schedule_named
from prunectl.pruning.rules import SelectionRules
from prunectl.pruning.scoring import batches_for, scored
from prunectl.pruning.shrink import shrink
from prunectl.pruning.units.base import Unit
from prunectl.pruning.units.table import unit_of
from prunectl.pruning.units.with_nodes import WithNodes
from prunectl.scores import Scores
from prunectl.structure.keep import nodes_on, parameters_named
from prunectl.structure.node_masks import dead_nodes
from prunectl.structure.trace import trace
from prunectl.torchtools.rng import forked, seed_for
from prunectl.training.round_checks import check_criterion, check_exploring, check_times, rounds_before, works_by_epoch
from prunectl.training.round_times import RoundTimes, exploring, fitting


class PruningRounds:
    """The rounds of pruning of a training: the steps after which they come (`times`), and the results so far.

    `returned` are the entries that were reset in the last round, bool, by parameter.
    """

    def __init__(
        self,
        during: GradualPruning,
        recipe: Recipe,
        checkpoint: Checkpoint,
        data: ImageData,
        steps_per_epoch: int,
        events: Sequence[dict[str, Any]] = (),
        passed: int = 0,
    ) -> None:
        """Check at the start what would otherwise fail after hours.

        `events` are the results of the rounds so far; `passed` then counts the rounds that are skipped because the
        network was already that sparse at the start.

        Raises:
            OptionError: an unreachable target, or options that exclude each other.
        """
        self.during, self.recipe, self.data = during, recipe, data
        self.method = method_of(during)
        self.schedule = during.schedule or self.method.schedule
        self.how = selection(during, self.method)
        self.delay = self.method.delay if during.prune_delay is None else during.prune_delay
        self.every = self.method.every if during.prune_every is None else during.prune_every
        self.when = RoundTimes(self.delay, self.every, steps_per_epoch, recipe.epochs)
        check_criterion(during, self.method, self.how, self.when)
        self.options = self.method.options(dict(during.options), f"criterion {during.criterion}")
        explored = self.method.exploration
        self.exploration: Exploration | None = None if explored is None else explored(**self.options.exploration)
        self.returned: dict[str, Tensor] = {}
        whole = self._followed(checkpoint)
        unit = None if events else unit_of(self.method, whole, whole.model, self.how)
        self.passed = passed
        if unit is not None and during.sparsity is not None and not (self.method.regrow_value or self.exploration):
            self.passed = sum(unit.keep(aim) >= unit.kept for aim in self._sparsities(during.sparsity)[:-1])
        rounds = self._fit()
        self.times = self.when.first(rounds)
        check_times(during, self.method, self.times, self.when)
        self.events = list(events)
        self.now = self.events[-1] if unit is None else self._begun(whole, unit)
        if self._starts_sparse and (self.when.is_start(self.events[0]) if unit is None else self._is_dense(unit)):
            self.times = (0, *self.times)

    @staticmethod
    def of(
        recipe: Recipe, checkpoint: Checkpoint, data: ImageData, steps_per_epoch: int, saved: Mapping[str, Any]
    ) -> "PruningRounds | None":
        """The pruning of a recipe, from the values that a stopped training saved; empty at the start."""
        if recipe.prune is None:
            return None
        done = saved.get("events", ()), saved.get("passed", 0)
        return PruningRounds(recipe.prune, recipe, checkpoint, data, steps_per_epoch, *done)

    def state_dict(self) -> dict[str, Any]:
        """The values of a resume file from which `of` builds the same rounds."""
        return {"events": list(self.events), "passed": self.passed}

    def due(self, step: int) -> bool:
        """Whether a round follows this step; 1 is the first step, 0 the start."""
        return len(self.events) < len(self.times) and step == self.times[len(self.events)]

    def rewinds_after(self, epoch: int) -> bool:
        """Whether the training rewinds to the end of this epoch."""
        return self.method.rewinds and epoch == (self.during.rewind_to or 0)

    @property
    def scheduled_steps(self) -> int:
        """The length of the learning-rate schedule in steps: shorter than the training if the criterion rewinds."""
        if not self.method.rewinds:
            return self.when.steps
        to = (self.during.rewind_to or 0) * self.when.steps_per_epoch
        return max(to + self.when.steps - self.times[-1], to + self.when.every, self.times[0])

    def callback(self, checkpoint: Checkpoint) -> Callback | None:
        """The criterion's callback for the training of this network up to the next round."""
        if self.method.callback is None or len(self.events) == len(self.times):
            return None
        structure = None
        if self._follows_nodes:
            if self._followed(checkpoint).model is not checkpoint.model:
                raise OptionError(
                    f"{self.during.criterion} takes part in every step, which is impossible in a network on swapped "
                    "modules or a rewritten graph; start from the network before it was shrunk"
                )
            structure = trace(checkpoint.model, checkpoint.spec.input, outer=self.how.rules.outer_layers)
            protected = parameters_named(checkpoint.model, self.how.keep)
            structure = structure.frozen(nodes_on(structure, protected))
        images = len(self.data.train)
        with forked(checkpoint.device):
            torch.manual_seed(seed_for("companion", mixed(self.recipe.seed, len(self.events))))
            made: Callback = self.method.callback(checkpoint.model, structure, images, **self.options.callback)
        if type(made).aim_ is not Callback.aim_:
            made.aim_(self._target_masks(checkpoint), self.how.scope)
        if structure is not None:
            made.without_(dead_nodes(structure, checkpoint.masks, checkpoint.model))
        return made.to(checkpoint.device)

    def run(self, checkpoint: Checkpoint, scores: Scores | None = None) -> Checkpoint:
        """Run the due round on the network, in place; returns a smaller network if nodes are removed."""
        i = len(self.events)
        whole = self._followed(checkpoint)
        torch.manual_seed(seed_for("prune", mixed(self.recipe.seed, i)))
        if self._starts_sparse and not self.times[i]:
            unit = self._begin_(whole)
        else:
            targets = RoundTargets(self._sparsities, self.during.sparsity)
            unit = self._round_(self.method, whole, self.how, self.options.scorer, targets, scores)
        self.returned = unit.returned
        if self.method.regrowth is not None:
            regrowing = replace(self.method, scorer=self.method.regrowth, regrow_value="zero")
            how = replace(self.how, regrow_value="zero", holds_layers=True)
            pruned = replace(whole, masks=unit.masks)
            unit = self._round_(regrowing, pruned, how, self.options.regrowth, _held(unit.sparsity))
            self.returned = unit.returned
        found = unit.result()
        pruned = replace(whole, masks=unit.masks).after("prune", self.chosen).with_result(found)
        if isinstance(unit, WithNodes):
            # a callback that follows nodes needs the original shape up to the last round
            if unit.gone.any() and not (self._follows_nodes and i + 1 < len(self.times)):
                pruned = shrink(pruned, constants=False)
                found |= {key: value for key, value in pruned.history[-1].result.items() if key != "removed"}
                found["nodes"] = nodes_present(pruned)
            found.setdefault("nodes", unit.nodes - round(found["node_sparsity"] * unit.nodes))
        self.events.append({**self.when.event(self.times[i]), **found})
        self.now = self.events[-1]
        return pruned

    def _round_(
        self,
        method: Criterion,
        whole: Checkpoint,
        how: SelectionRules,
        keywords: Mapping[str, Any],
        targets: RoundTargets,
        known: Scores | None = None,
    ) -> Unit:
        """Run the due round with a criterion, using known scores or its own."""
        i = len(self.events)
        unit = unit_of(method, whole, whole.model, how)

        def score() -> Scores:
            batches = batches_for(whole, self.data, self.recipe.batch_size, True, mixed(self.recipe.seed, i))
            batches = batches.of(self.during.criterion, method.scorer, keywords)
            return scored(method, unit, batches, keywords, amp=self.recipe.amp, progress=self._progress(i))

        scores = score if known is None else lambda: known
        prune_round_(unit, targets, i, scores, fewer_than=None if method.regrow_value else unit.kept)
        return unit

    def _begin_(self, whole: Checkpoint) -> Unit:
        """Prune to the target at random, before the first step.

        With `uniform`, every layer keeps the same share, except a first convolution, which is not pruned (Evci et al.
        2020, arXiv:1911.11134, section 3). The target is still that of the whole network.
        """
        uniform = self.exploration is not None and self.exploration.start == "uniform"
        method = criterion_named("random" if uniform else "erk")
        name, first = next(iter(prunable(whole.model).items()))
        keep = (*self.how.keep, name) if uniform and first.ndim > 2 else self.how.keep
        return self._round_(method, whole, SelectionRules(method.scope, keep=keep), {}, _held(self.during.sparsity))

    @property
    def chosen(self) -> dict[str, Any]:
        """The options of the pruning, for the history."""
        own = {"schedule": self.schedule, "scope": self.how.scope, "normalize": self.how.rules.normalize}
        when = {"prune_delay": self.delay, "prune_every": self.every}
        return {**recorded(self.during), **own, **when, "options": self.options.all}

    def _target_masks(self, checkpoint: Checkpoint) -> Masks:
        """Masks with the number of weights that every layer keeps after the last round."""
        if self.during.threshold is not None:
            raise OptionError(f"{self.during.criterion} prunes to a sparsity; use `sparsity` instead of `threshold`")
        unit = unit_of(self.method, checkpoint, checkpoint.model, self.how)
        return unit.select(_alike(unit), self.during.sparsity or 0.0)

    def result(self) -> dict[str, Any]:
        """The sparsities reached, and the result of every round, for the history."""
        reached = {key: value for key, value in self.now.items() if key not in ("epoch", "step")}
        return {**reached, "events": self.events}

    def _fit(self) -> int:
        """Fit the intervals into a short training, unless the user chose them; returns the number of rounds."""
        free = self.during.prune_delay is None and self.during.prune_every is None
        if free and self.exploration is not None and not self.during.steps:
            self._retime(exploring(self.when, self.exploration.until))
        rounds = self._count()
        if free:
            steps, by_epoch = self.when.steps, works_by_epoch(self.method)
            self._retime(fitting(self.delay, self.every, rounds, self.recipe.epochs, steps, by_epoch=by_epoch))
        return rounds

    def _retime(self, found: tuple[Interval, Interval] | None) -> None:
        if found is not None:
            self.delay, self.every = found
            self.when = RoundTimes(*found, self.when.steps_per_epoch, self.recipe.epochs)

    def _count(self) -> int:
        """The number of rounds; a method that explores does so for most of the training."""
        during = self.during
        if self.exploration is None:
            return len(self._sparsities(during.sparsity or PLACEHOLDER))
        check_exploring(during, self.method)
        return during.steps or rounds_before(self.exploration.until, during, self.when)

    def _sparsities(self, target: float) -> tuple[float, ...]:
        """The sparsity after every round up to a target, without those already passed at the start."""
        steps = self.during.steps or self.method.steps if self.exploration is None else self._count()
        may_fall = self.method.regrow_value is not None or self.exploration is not None
        return schedule_named(self.schedule, steps, may_fall=may_fall)(target)[self.passed :]

    def _progress(self, i: int) -> float:
        """The progress at round `i`: of all rounds, or of the training for a method that explores."""
        if self.exploration is None:
            return i / len(self.times)
        return min(self.times[i] / (self.exploration.until * self.when.steps), 1.0)

    @property
    def _starts_sparse(self) -> bool:
        """Whether the network is pruned to the target before the first step."""
        return self.exploration is not None and self.exploration.start != ""

    @property
    def _follows_nodes(self) -> bool:
        """Whether the callback needs the network's structure."""
        return self.method.callback is not None and self.method.callback.needs_structure

    def _followed(self, checkpoint: Checkpoint) -> Checkpoint:
        return checkpoint if self.method.unit == "weights" else retraceable(checkpoint)

    def _is_dense(self, unit: Unit) -> bool:
        """Whether the network must still be pruned to the target of a method that explores."""
        return unit.keep(self.during.sparsity or 0.0) < unit.kept

    def _begun(self, whole: Checkpoint, unit: Unit) -> dict[str, Any]:
        """Check the target and the scorer; returns the sparsities before the first round."""
        unit.check(self.during.sparsity)
        if self.during.sparsity is not None:
            unit.select(_alike(unit), self.during.sparsity)
        elif self.during.threshold is None:
            unit.solve(_alike(unit))
        with forked(whole.device):  # to raise the scorer's own errors now
            batches = batches_for(whole, self.data, 2, True, 0)
            batches = batches.of(self.during.criterion, self.method.scorer, self.options.scorer)
            scored(self.method, unit, batches, self.options.scorer, amp=self.recipe.amp)
        return unit.result()


def _alike(unit: Unit) -> Scores:
    """Equal scores for all."""
    scores = {name: torch.ones_like(weight) for name, weight in prunable(unit.model).items()}
    return Scores(scores, torch.ones(unit.structure.nodes) if isinstance(unit, WithNodes) else None)


def _held(sparsity: float | None) -> RoundTargets:
    """The same sparsity after every round."""
    return RoundTargets(lambda target: (target,), sparsity)
