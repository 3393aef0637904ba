"""Trainer: the loop over steps and epochs."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.repair import RepairOptions
from prunectl.checkpoints.options.training import Recipe, TrainRun
from prunectl.checkpoints.options.values import recorded
from prunectl.criteria.base.callback import Callback
from prunectl.data.images import ImageData, mixed
from prunectl.errors import OptionError
from prunectl.measuring.accuracy import Accuracy, accuracy
from prunectl.measuring.memory import forget_peak
from prunectl.pruning.repair.pair import paired
from prunectl.pruning.repair.repair import repaired_pair
from prunectl.torchtools import distributed
from prunectl.torchtools.layout import CONTIGUOUS, lay_out_
from prunectl.torchtools.rng import forked, random_state, seed_for, set_random_state_
from prunectl.training.adversarial import passes
from prunectl.training.batch import Batch, changed
from prunectl.training.learner import Learner
from prunectl.training.progress import Progress
from prunectl.training.pruning_rounds import PruningRounds
from prunectl.training.saved_values import fitting
from prunectl.training.state import State, under, within
from prunectl.training.teacher import Teacher

_LOGS = 100


class Trainer:
    """A training that yields after every step, so that the caller can watch, stop and save it."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        data: ImageData,
        recipe: Recipe,
        state: State | None = None,
        *,
        teacher: Checkpoint | None = None,
        reuse: bool = False,
    ) -> None:
        """Begin a training, or continue from a `state`; with `reuse`, the checkpoint's own network is trained."""
        spec = checkpoint.spec
        data.check_fits(spec.input, spec.classes, spec.name)
        checkpoint.check_held_out(data)
        self.start, self.recipe = checkpoint, recipe
        self.data = data.to(checkpoint.device)
        self.device = checkpoint.device
        self.augment = data.augment if recipe.augment is None else recipe.augment
        self.teacher = None if teacher is None else Teacher(teacher, checkpoint, amp=recipe.amp)
        if self.teacher is None and (recipe.teacher_weight, recipe.temperature) != (0.5, 4.0):
            raise OptionError("`teacher_weight` and `temperature` are for a `teacher`; add one")
        if self.teacher is not None and recipe.adv_eps:
            raise OptionError("`teacher` and `adv_eps` cannot be combined; leave out one of them")
        if recipe.compile and distributed.joined():
            raise OptionError("`compile` is for one process, but torchrun started several; leave it out")
        count = len(self.data.train)
        self.steps_per_epoch = -(-count // recipe.batch_size) - (count > 1 and count % recipe.batch_size == 1)
        self.total_steps = self.steps_per_epoch * recipe.epochs
        saved = {} if state is None else state.parts
        self.rounds = PruningRounds.of(recipe, checkpoint, self.data, self.steps_per_epoch, saved)
        self.mode = checkpoint.model.training
        """The mode of the given network, restored in the result."""
        begun = replace(checkpoint, model=(checkpoint.model if reuse else copy.deepcopy(checkpoint.model)).train())
        self.learner = Learner(
            recipe,
            begun,
            self._callback(begun),
            scheduled=self.total_steps if self.rounds is None else self.rounds.scheduled_steps,
            warmup=round(self.steps_per_epoch * recipe.warmup),
            groups=len(saved.get("groups", [])),
        )
        self.progress = Progress(self.device)
        self.evaluated: Accuracy | None = None
        """On the evaluation images, after the last finished epoch."""
        self.recalibrated: Accuracy | None = None
        """The same for the result, if its BatchNorm statistics were estimated again."""
        with forked(self.device):
            torch.manual_seed(seed_for("train", recipe.seed))
            self.random = random_state(self.device)
        if saved:
            with fitting():
                self._load_state_dict(saved)

    @property
    def current(self) -> Checkpoint:
        """The current network, with its masks."""
        return self.learner.checkpoint

    @property
    def model(self) -> nn.Module:
        """The module being trained."""
        return self.learner.model

    @property
    def step(self) -> int:
        """The number of finished steps."""
        return self.progress.step

    def steps(self) -> Iterator[dict[str, Any] | None]:
        """Continue training from the current step; after each step, yields a log record if one is due, else None.

        Raises:
            DivergedError: the loss is not finite.
        """
        forget_peak(self.device)
        with forked(self.device):
            set_random_state_(self.device, self.random)
            self.progress.start_()
            if self.teacher is not None and not self.changes_images:
                self.teacher.learn_(self.data.train)
            every = max(1, self.total_steps // _LOGS)
            if self.step == 0:
                self._end_epoch(0)
                self._prune_()
            while self.step < self.total_steps:
                epoch, first = divmod(self.step, self.steps_per_epoch)
                self.learner.callback.on_epoch_start(
                    self.model, self._round_follows((epoch + 1) * self.steps_per_epoch)
                )
                for batch in self._batches(epoch, first):
                    loss, correct = self.learner.fit_(batch)
                    self.progress.add_(loss, correct, batch.images, self._flops(batch.images))
                    at_end, due = self.step % self.steps_per_epoch == 0, self._round_follows(self.step)
                    record = self._record(at_end) if at_end or due or self.step % every == 0 else None
                    self.progress.tick_()
                    if at_end:
                        self._end_epoch(epoch + 1)
                    if record is not None and self._prune_() and self.rounds is not None:
                        record["pruned"] = self.rounds.now
                    self.random = random_state(self.device)
                    yield record
                    set_random_state_(self.device, self.random)

    @property
    def changes_images(self) -> bool:
        """Whether images differ from one epoch to the next."""
        return bool(self.augment or self.recipe.mixup)

    def result(self, *, last: bool = False) -> Checkpoint:
        """The trained network: the averaged one if the recipe has an average.

        It is a copy; with `last`, it may be the training's own network, and the training cannot continue.
        """
        self.learner.optimizer.zero_grad(set_to_none=True)  # so that the copy takes no more memory than a step
        model, now = self.learner.evaluated(), self.current
        model = model if last else copy.deepcopy(model)
        lay_out_(model, CONTIGUOUS)  # as when read from its file, so that both compute the same bits
        now.masks.apply_(model)
        taught_by = None if self.teacher is None else self.teacher.sha256
        run = TrainRun(self.device.type, self.step, self.total_steps, taught_by, distributed.processes())
        chosen = {
            **recorded(replace(self.recipe, prune=None)),
            **({} if self.rounds is None else self.rounds.chosen),
            "augment": list(self.augment),
            "data": self.data.described if len(self.data.train) else None,
            **recorded(run),
        }
        model.train(self.mode)
        trained = self.start.after("train", chosen, model=model, masks=now.masks, edits=now.edits)
        trained = trained if self.rounds is None else trained.with_result(self.rounds.result())
        return self._recalibrated(trained) if self.recipe.recalibrate else trained

    def _recalibrated(self, trained: Checkpoint) -> Checkpoint:
        """The same with new BatchNorm statistics: running averages lag behind the weights of a short training.

        Its accuracy is recorded where one process trains.
        """
        options = RepairOptions("bn", seed=self.recipe.seed)
        model = repaired_pair(paired(trained, None), trained, self.data, options)[0]
        made = replace(trained, model=model)
        if not len(self.data.test) or distributed.joined():
            return made
        self.recalibrated = self._accuracy(model)
        return made.with_result({**trained.history[-1].result, "recalibrated_accuracy": self.recalibrated.top1})

    def _accuracy(self, model: nn.Module) -> Accuracy:
        """The accuracy on the evaluation images."""
        return accuracy(model, self.data.test, self.start.preprocessing, classes=self.start.spec.classes)

    def state(self, *, live: bool = False) -> State:
        """The state that `Trainer(self.current, data, recipe, state)` needs to continue from here.

        `live` is as in `State.of`.
        """
        return State.of(
            {
                **self.learner.state_dict(),
                **self.progress.state_dict(),
                **({"events": [], "passed": 0} if self.rounds is None else self.rounds.state_dict()),
                **under("random", {str(i): state for i, state in enumerate(self.random)}),
                "entries": len(self.start.history),
            },
            live=live,
        )

    def state_bytes(self) -> int:
        """The bytes of a resume file after the first step, within some kilobytes; a rewind point adds as much."""
        masks = sum(-(-mask.numel() // 8) for mask in self.current.masks.values())
        return masks + self.learner.state_bytes()

    def network_bytes(self) -> int:
        """The bytes of the checkpoint, within some kilobytes, unless the training removes nodes."""
        return sum(tensor.nbytes for tensor in self.model.state_dict().values())

    def _load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state`, except for the rounds of pruning, which are built from it."""
        self.learner.load_state_dict(state)
        self.progress.load_state_dict(state)
        self.random = [tensor for _, tensor in sorted(within("random", state).items())]
        with forked(self.device):
            set_random_state_(self.device, self.random)  # raises if they are invalid
        # the result has one entry for the training instead of those of its rounds
        self.start = replace(self.start, history=self.start.history[: state["entries"]])

    def _callback(self, checkpoint: Checkpoint) -> Callback:
        """The callback of the training up to the next round, which does nothing if the criterion has none."""
        found = None if self.rounds is None else self.rounds.callback(checkpoint)
        return Callback() if found is None else found

    def _end_epoch(self, epoch: int) -> None:
        """Set the rewind point if it is due after this epoch."""
        self.learner.callback.on_epoch_end(self.model)
        self.learner.same_()
        if self.rounds is not None and self.rounds.rewinds_after(epoch):
            self.learner.set_rewind_point_()

    def _round_follows(self, step: int) -> bool:
        """Whether a round of pruning is due after this step."""
        return self.rounds is not None and self.rounds.due(step)

    def _prune_(self) -> bool:
        """Prune if a round is due; returns whether the network was pruned."""
        if self.rounds is None or not self.rounds.due(self.step):
            return False
        self.learner.same_()
        scores = self.learner.begin_round_()
        with forked(self.device):
            pruned = self.rounds.run(self.current, scores)
        pruned = replace(pruned, sha256=self.start.sha256)
        self.learner.end_round_(pruned, self._callback(pruned), self.rounds.returned)
        return True

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """The batches of an epoch from number `first` on, augmented, with the teacher's logits."""
        seed, known = mixed(self.recipe.seed, epoch), None if self.teacher is None else self.teacher.known
        train, labels = self.data.train, self.data.train.labels
        source = train if known is None else train.relabel(torch.arange(len(train), device=labels.device))
        size, cutout, mixup = self.recipe.batch_size, "cutout" in self.augment, self.recipe.mixup
        rows = slice if cutout or mixup else distributed.rows_or_all  # their draws are for the whole batch
        batches = source.batches(size, seed=seed, start=first, augment=self.augment, rows=rows)
        for i, (pixels, which) in enumerate(batches, first):
            there, index = pixels.to(self.device), which.to(self.device)
            count = min(size, len(train) - i * size)
            batch = Batch(there, index, whole=count if len(index) < count else 0)
            if known is not None:
                yield replace(batch, labels=labels.to(self.device)[index], teacher=known[index])
                continue
            mean = self.start.preprocessing.mean
            if cutout or mixup:
                batch = changed(batch, cutout=cutout, mixup=mixup, mean=mean, seed=mixed(seed, i))
                batch = batch.part(distributed.rows_or_all(count))
            yield batch if self.teacher is None else replace(batch, teacher=self.teacher.logits(batch.pixels))

    def _flops(self, images: int) -> int:
        """FLOPs of a training step; a teacher with stored logits costs nothing."""
        recipe, teacher = self.recipe, self.teacher
        taught = 0 if teacher is None or teacher.known is not None else teacher.flops
        own = self.learner.flops * passes(recipe.adv_loss if recipe.adv_eps else None, recipe.adv_steps)
        return (own + taught) * images

    def _record(self, at_end: bool) -> dict[str, Any]:
        """The log record after this step; at the end of an epoch, it has the accuracy on the evaluation images."""
        learner = self.learner
        network = {"lr": learner.optimizer.param_groups[0]["lr"], "weight_sparsity": learner.weight_sparsity}
        if self.rounds is not None and "node_sparsity" in self.rounds.now:
            network["node_sparsity"] = self.rounds.now["node_sparsity"]
        network["flops_per_sample"] = learner.flops
        record = self.progress.record_(self.step / self.steps_per_epoch, network)
        if at_end and len(self.data.test):
            found = self._accuracy(learner.evaluated())
            self.evaluated = found
            record |= {"eval_loss": found.loss, "eval_accuracy": found.top1, "seconds": self.progress.tick_()}
        record |= learner.callback.metrics(self.model)
        return record
