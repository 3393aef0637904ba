"""The loop of a training, step by step, and what it needs to stop and to go on."""

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.images import ImageData, mixed
from prunectl.errors import OptionError
from prunectl.measuring.accuracy import Accuracy, accuracy
from prunectl.measuring.cost import cost
from prunectl.measuring.memory import forget_peak, memory_in_use
from prunectl.structure.surgery.cut import since
from prunectl.structure.surgery.optimizer import carry_, restart_
from prunectl.structure.surgery.plan import Plan
from prunectl.torchtools.contexts import differentiated
from prunectl.torchtools.copies import in_type_of
from prunectl.torchtools.rng import forked, random_state, seed_for, set_random_state_
from prunectl.training.adversarial import passes
from prunectl.training.ema import EMA
from prunectl.training.enforcer import enforcer_for
from prunectl.training.loss import objective
from prunectl.training.meters import Meter
from prunectl.training.pruning_rounds import PruningRounds
from prunectl.training.recipe import Recipe, optimizer, penalty, scheduler
from prunectl.training.resume import State
from prunectl.training.rewind import RewindPoint
from prunectl.training.state import paused, restore_

_LOGS = 100


class Trainer:
    """A training that yields after every step, so that whoever runs it can watch, stop and save it."""

    def __init__(self, checkpoint: Checkpoint, data: ImageData, recipe: Recipe, state: State | None = None) -> None:
        spec = checkpoint.spec
        data.check_fits(spec.input, spec.classes, spec.name)
        checkpoint.check_held_out(data)
        self.start, self.recipe = checkpoint, recipe
        self.data = data.to(checkpoint.device)
        self.device = checkpoint.device
        self.augment = data.augment if recipe.augment is None else recipe.augment
        self.rounds = PruningRounds.of(recipe, checkpoint, self.data, {} if state is None else state.values)
        self._take(replace(checkpoint, model=copy.deepcopy(checkpoint.model).train()))
        self.enforcer = enforcer_for(self.current)
        self.optimizer = optimizer(recipe, self.model)
        self._accompany(1 if state is None else len(state.values["groups"]))
        count = len(self.data.train)
        self.steps_per_epoch = -(-count // recipe.batch_size) - (count > 1 and count % recipe.batch_size == 1)
        self.total_steps = self.steps_per_epoch * recipe.epochs
        scheduled = recipe.epochs if self.rounds is None else self.rounds.scheduled_epochs
        self.scheduler = scheduler(recipe, self.optimizer, self.steps_per_epoch * scheduled)
        self.ema = None if recipe.ema is None else EMA(recipe.ema, self.model, self.callback)
        self.rewind_point: RewindPoint | None = None
        self.penalty = penalty(recipe)
        self.step = self.images = self.spent = 0
        self.seconds = 0.0
        self.meter = Meter(self.device)
        self.last: dict[str, Any] = {}
        self.evaluated: Accuracy | None = None
        """On the evaluation images, after the epoch that ended last."""
        with forked(self.device):
            torch.manual_seed(seed_for("train", recipe.seed))
            self.random = random_state(self.device)
        if state is not None:
            restore_(self, state)

    def steps(self) -> Iterator[dict[str, Any] | None]:
        """Train step by step from where it stands; yields a log record when one is due, else None."""
        forget_peak(self.device)
        with forked(self.device):
            set_random_state_(self.device, self.random)
            started = time.perf_counter() - self.seconds
            every = max(1, self.total_steps // _LOGS)
            if self.rounds is not None and self.step == 0:
                self._between(self.rounds, 0)
            while self.step < self.total_steps:
                epoch, first = divmod(self.step, self.steps_per_epoch)
                if self.callback is not None and self.rounds is not None:
                    self.callback.on_epoch_start(self.model, self.rounds.due(epoch + 1))
                batches = self.data.train.batches(
                    self.recipe.batch_size, seed=mixed(self.recipe.seed, epoch), start=first, augment=self.augment
                )
                for pixels, labels in batches:
                    self._fit(pixels.to(self.device), labels.to(self.device))
                    at_end = self.step % self.steps_per_epoch == 0
                    record = self._record(at_end, started) if at_end or self.step % every == 0 else None
                    self.seconds = time.perf_counter() - started
                    if record and at_end and self.rounds is not None and self._between(self.rounds, epoch + 1):
                        record["pruned"] = self.rounds.now
                    self.random = random_state(self.device)
                    yield record
                    set_random_state_(self.device, self.random)

    def latest(self) -> tuple[float, float]:
        """Mean loss and accuracy on the training images since the last record, or those of that record."""
        if self.meter.seen:
            return self.meter.means()
        return self.last["loss"], self.last["accuracy"]

    def result(self) -> Checkpoint:
        """The trained network: the averaged one if the recipe has an average."""
        model, now = copy.deepcopy(self._evaluated()), self.current
        now.masks.apply_(model)
        recipe = asdict(self.recipe)
        del recipe["prune"]
        chosen = {
            **recipe,
            **({} if self.rounds is None else self.rounds.chosen),
            "augment": list(self.augment),
            "data": self.data.described,
            "device": self.device.type,
            "steps": self.step,
            "total_steps": self.total_steps,
        }
        model.train(self.start.model.training)
        trained = self.start.after("train", chosen, model=model, masks=now.masks, edits=now.edits)
        return trained if self.rounds is None else trained.with_result(self.rounds.result())

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """All parameters of the optimiser, in its order."""
        yield from self.model.named_parameters()
        if self.callback is not None:
            yield from ((f"companion/{name}", p) for name, p in self.callback.named_parameters())

    def state(self) -> State:
        """Everything that `Trainer(self.current, data, recipe, state)` needs to go on from here, on the cpu."""
        return paused(self)

    def _take(self, checkpoint: Checkpoint) -> None:
        """Let this checkpoint's network be the one that is trained."""
        self.current, self.model = checkpoint, checkpoint.model
        if self.device.type == "cuda":  # on a cpu it takes 0.9 to 1.07 of the time, by network
            self.model.to(memory_format=torch.channels_last)
        self.network = torch.compile(self.model) if self.recipe.compile else self.model
        self.callback = None if self.rounds is None else self.rounds.callback(checkpoint)
        counted = cost(self.model, checkpoint.masks, checkpoint.spec.input)
        self.flops = counted.flops
        self.sparsity = {"weight_sparsity": 1 - counted.kept / checkpoint.dense.weights}
        if self.rounds is not None and "node_sparsity" in self.rounds.now:
            self.sparsity["node_sparsity"] = self.rounds.now["node_sparsity"]

    def _accompany(self, groups: int) -> None:
        """Let the optimiser train the companion's own parameters, without decay, in a second group of its own."""
        own = [] if self.callback is None else list(self.callback.parameters())
        if own or groups > 1:
            self.optimizer.add_param_group({"params": own, "weight_decay": 0.0})

    def _between(self, rounds: PruningRounds, epoch: int) -> bool:
        """After an epoch: keep the moment to go back to, or do the round that is due; says whether one was."""
        if self.callback is not None:
            self.callback.on_epoch_end(self.model)
        if rounds.rewinds_after(epoch):
            self.rewind_point = RewindPoint.of(self.model, self.optimizer, self.scheduler, self._average)
        if not rounds.due(epoch):
            return False
        self._prune(rounds)
        if self.rewind_point is not None:
            self.rewind_point.back_(self.model, self.optimizer, self.scheduler, self._average)
            for network in [self.model] if self.ema is None else [self.model, self.ema.network]:
                self.current.masks.apply_(network)
        self.enforcer = enforcer_for(self.current)
        return True

    def _prune(self, rounds: PruningRounds) -> None:
        """Do a round, and go on with what it leaves: optimiser, average and companion follow."""
        self.optimizer.zero_grad(set_to_none=True)
        before, callback, scores = self.current, self.callback, None
        if callback is not None:
            scores = callback.scores(self.model)
            callback.fold_(self.model)
            if self.ema is not None:
                self.ema.fold_(callback)
        with forked(self.device):
            pruned = rounds.run(before, scores)
        if self.recipe.compile and pruned.model is not before.model:
            torch.compiler.reset()  # or the limit of compilations per function is hit after a few rounds
        self._take(replace(pruned, sha256=self.start.sha256))
        kept = since(Plan.of(before.edits).kept, Plan.of(pruned.edits).kept)
        carry_(self.optimizer, before.model, self.model, kept)
        self.rewind_point = None if self.rewind_point is None else self.rewind_point.without(kept)
        grown = pruned.masks.beyond(before.masks)
        restart_(self.optimizer, self.model, grown)
        if callback is not None:
            for parameter in callback.parameters():
                self.optimizer.state.pop(parameter, None)
            if len(self.optimizer.param_groups) > 1:
                self.optimizer.param_groups[1]["params"] = (
                    [] if self.callback is None else [*self.callback.parameters()]
                )
        if self.ema is not None:
            self.ema = self.ema.after(self.model, self.callback, kept, grown, pruned.masks)

    def _evaluated(self) -> nn.Module:
        """The network that is evaluated: the average if there is one, with what a companion puts into it."""
        if self.callback is None:
            return self.model if self.ema is None else self.ema.network
        if self.ema is not None:
            return self.ema.folded(self.callback)
        folded = copy.deepcopy(self.model).requires_grad_(True)
        self.callback.fold_(folded)
        return folded

    @property
    def _average(self) -> AveragedModel | None:
        """The average of the network, if there is one."""
        return None if self.ema is None else self.ema.model

    def _classify(self, pixels: Tensor) -> Tensor:
        """Logits (B, classes) of pixels in [0, 255], with what a companion puts in place of parameters."""
        inputs = in_type_of(self.model, self.start.preprocessing(pixels))
        if self.device.type == "cuda":
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        replaced = {} if self.callback is None else self.callback.parametrized(self.model)
        logits = self._outputs(inputs, replaced)
        if not isinstance(logits, Tensor):
            raise OptionError(
                f"the network returns a {type(logits).__name__} in training, expected logits (B, classes) alone: leave "
                "out its auxiliary outputs"
            )
        return logits

    def _outputs(self, inputs: Tensor, replaced: Mapping[str, Tensor]) -> Any:
        if not replaced:
            return self.network(inputs)
        return torch.func.functional_call(self.model, dict(replaced), (inputs,))

    def _fit(self, pixels: Tensor, labels: Tensor) -> None:
        """One step of the optimiser."""
        recipe = self.recipe
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=recipe.amp):
            loss, logits = objective(recipe, self._classify, self.model, pixels, labels)
        total = loss if self.penalty is None else loss + recipe.reg_weight * self.penalty(self.model)
        more = None if self.callback is None else self.callback.penalty(self.model)
        total = total if more is None else total + more
        self.optimizer.zero_grad(set_to_none=True)
        with differentiated():
            total.backward()  # type: ignore[no-untyped-call]
        if self.callback is not None:
            self.callback.after_backward(self.model)
        self._change_gradients()
        self.optimizer.step()
        self.scheduler.step()
        self.enforcer.weights_()
        if self.ema is not None:
            self.ema.update_(self.model, self.callback)
        self.meter.add_(loss, logits, labels)
        self.images += len(labels)
        self.spent += self.flops * passes(recipe.adv_loss if recipe.adv_eps else None, recipe.adv_steps) * len(labels)
        self.step += 1

    def _change_gradients(self) -> None:
        """Add noise, then clip the norm, in which what the enforcer holds does not count."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if self.recipe.noise:
            noises = [self.recipe.noise * torch.randn_like(gradient) for gradient in gradients]
            torch._foreach_add_(gradients, noises)
        if self.recipe.clip is not None:
            self.enforcer.gradients_()
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)

    def _record(self, at_end: bool, started: float) -> dict[str, Any]:
        """What the log says after this step; loss and accuracy are means over the images since the last record."""
        loss, right = self.meter.means()
        self.seconds = time.perf_counter() - started
        record = {
            "step": self.step,
            "images": self.meter.seen,
            "epoch": self.step / self.steps_per_epoch,
            "loss": loss,
            "accuracy": right,
            "lr": self.optimizer.param_groups[0]["lr"],
            **self.sparsity,
            "flops_per_sample": self.flops,
            "training_flops": self.spent,
            "seconds": self.seconds,
            "memory_bytes": memory_in_use(self.device),
        }
        if not math.isfinite(record["loss"]):
            raise OptionError(f"the loss is {record['loss']} after step {self.step}: training diverged; lower --lr")
        self.meter.clear_()
        if at_end and len(self.data.test):
            spec = self.start.spec
            found = accuracy(self._evaluated(), self.data.test, self.start.preprocessing, classes=spec.classes)
            self.evaluated = found
            self.seconds = time.perf_counter() - started
            record |= {"eval_loss": found.loss, "eval_accuracy": found.top1, "seconds": self.seconds}
        if self.callback is not None:
            record |= self.callback.metrics(self.model)
        self.last = record
        return record
