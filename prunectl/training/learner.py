"""Learner: a network with its optimiser, scheduler, average and callback."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.training import Recipe
from prunectl.criteria.base.callback import Callback
from prunectl.errors import OptionError
from prunectl.measuring.cost import cost
from prunectl.plugins.registry import TABLES
from prunectl.scores import Scores
from prunectl.structure.surgery.cut import since
from prunectl.structure.surgery.optimizer import carry_, laid_out, restart_
from prunectl.structure.surgery.plan import Plan
from prunectl.torchtools import distributed
from prunectl.torchtools.contexts import autocast, differentiated, enough_for_batch_norm
from prunectl.torchtools.copies import in_type_of
from prunectl.torchtools.layout import CONTIGUOUS, lay_out_, layout
from prunectl.training.batch import Batch
from prunectl.training.ema import EMA
from prunectl.training.enforcer import enforcer_for
from prunectl.training.loss import objective
from prunectl.training.recipe import optimizer, penalty, scheduler
from prunectl.training.rewind import RewindPoint
from prunectl.training.saved_values import check_slots, groups_like, like
from prunectl.training.slots import copied, from_state, plain_group, slots_of, to_state
from prunectl.training.state import separated, under, within
from prunectl.training.whole_batch import whole_batch


class Learner:
    """Trains a checkpoint's network in place, with its optimiser, scheduler, average and callback.

    `scheduled` is the number of steps of the learning-rate schedule, including `warmup` steps at its start. Parameters
    of a callback are trained without decay, in a second parameter group; `groups` is the number of groups before a
    resume.
    """

    def __init__(
        self,
        recipe: Recipe,
        checkpoint: Checkpoint,
        callback: Callback,
        *,
        scheduled: int,
        warmup: int = 0,
        groups: int = 1,
    ) -> None:
        self.recipe = recipe
        self.device = checkpoint.device
        self._take_(checkpoint, callback)
        self.enforcer = enforcer_for(checkpoint)
        self.optimizer = optimizer(recipe, self.model)
        own = list(callback.parameters())
        if own or groups > 1:
            self.optimizer.add_param_group({"params": own, "weight_decay": 0.0})
        self.scheduler = scheduler(recipe, self.optimizer, scheduled, warmup=warmup)
        self.ema = None if recipe.ema is None else EMA(recipe.ema, self.model, callback)
        self.penalty = penalty(recipe)
        self.rewind_point: RewindPoint | None = None

    def fit_(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One optimiser step on a batch; returns its loss () and the number of correct predictions ()."""
        recipe = self.recipe
        with autocast(self.model, enabled=recipe.amp), enough_for_batch_norm(), whole_batch(batch):
            loss, logits = objective(recipe, self._classify, self.model, batch)
        penalties = [] if self.penalty is None else [recipe.reg_weight * self.penalty(self.model)]
        more = self.callback.penalty(self.model)
        penalties += [] if more is None else [more]
        correct = (logits.detach().argmax(1) == batch.labels).sum()
        self.optimizer.zero_grad(set_to_none=True)
        if batch.whole:
            loss = loss * (len(batch.labels) / batch.whole)
            penalties = [penalty / distributed.processes() for penalty in penalties]
        with differentiated():
            sum(penalties, loss).backward()  # type: ignore[no-untyped-call]
        loss = loss.detach()
        if batch.whole:
            counted = correct.float()  # exact, and sent in one message with the rest
            self._sum_(loss, counted)
            correct = counted.long()
        self.callback.after_backward(self.model)
        self._change_gradients_()
        self.optimizer.step()
        self.callback.after_step(self.model)
        self.scheduler.step()
        self.enforcer.weights_()
        if self.ema is not None:
            self.ema.update_(self.model, self.callback)
        return loss, correct

    def _sum_(self, *sums: Tensor) -> None:
        """Add up the gradients of all processes, each for its part of the batch, and other sums; in place.

        This happens after the backward pass: torch's DistributedDataParallel, which overlaps the two, supports neither
        the tensors with which a callback replaces parameters nor the extra passes of adversarial training.
        """
        parameters = [*self.model.parameters(), *self.callback.parameters()]
        distributed.sum_([*(p.grad for p in parameters if p.grad is not None), *sums])
        distributed.same_random_state_(self.device)

    def same_(self) -> None:
        """Copy the network of the first process to all, since rounding may differ between kinds of devices."""
        networks = [self.model, self.callback, *([] if self.ema is None else [self.ema.network])]
        distributed.same_([tensor for network in networks for tensor in network.state_dict().values()])

    def evaluated(self) -> nn.Module:
        """The network to evaluate: the average, if there is one, with the callback folded into a copy."""
        network = self.model if self.ema is None else self.ema.network
        if type(self.callback) is Callback:  # folds nothing, so no copy is needed
            return network
        folded = copy.deepcopy(network).requires_grad_(True)
        averaged = self.callback if self.ema is None else self.ema.averaged(self.callback)
        averaged.fold_(folded)
        return folded

    def begin_round_(self) -> Scores | None:
        """Fold the callback into the network and its average before a round; returns the callback's scores."""
        self.optimizer.zero_grad(set_to_none=True)
        scores = self.callback.scores(self.model)
        self.callback.fold_(self.model)
        if self.ema is not None:
            self.ema.averaged(self.callback).fold_(self.ema.network)
        return scores

    def end_round_(self, pruned: Checkpoint, callback: Callback, returned: Mapping[str, Tensor]) -> None:
        """Continue with the pruned network and a new callback; optimiser and average follow, or are rewound.

        Entries that the new masks let return, and those in `returned` (bool, by parameter), are reset in both.
        """
        before, ended = self.checkpoint, self.callback
        if self.recipe.compile and pruned.model is not before.model:
            torch.compiler.reset()  # else the limit of compilations per function is hit after a few rounds
        self._take_(pruned, callback)
        kept = since(Plan.of(before.edits).kept, Plan.of(pruned.edits).kept)
        carry_(self.optimizer, before.model, self.model, kept)
        grown = {**pruned.masks.beyond(before.masks), **returned}
        restart_(self.optimizer, self.model, grown)
        for parameter in ended.parameters():
            self.optimizer.state.pop(parameter, None)
        if len(self.optimizer.param_groups) > 1:
            self.optimizer.param_groups[1]["params"] = list(callback.parameters())
        if self.ema is not None:
            self.ema = self.ema.after(self.model, callback, kept, grown, pruned.masks)
        if self.rewind_point is not None:
            self.rewind_point = self.rewind_point.without(kept)
            self._rewind_(self.rewind_point)
        self.enforcer = enforcer_for(pruned)

    def set_rewind_point_(self) -> None:
        """Make the current state the rewind point of later rounds."""
        average = None if self.ema is None else self.ema.model
        self.rewind_point = RewindPoint.of(self.model, self.optimizer, self.scheduler, average)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values; those of the rewind point are under `moment`."""
        point = None if self.rewind_point is None else self.rewind_point.state_dict()
        tensors, values = separated(point or {})
        return {
            **under("model", self.model.state_dict()),
            **under("companion", self.callback.state_dict()),
            **({} if self.ema is None else self.ema.state_dict()),
            **to_state("optimizer", slots_of(self.optimizer, self._parameters())),
            "groups": self.optimizer.state_dict()["param_groups"],
            "scheduler": self.scheduler.state_dict(),
            **under("moment", tensors),
            "moment": None if point is None else values,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self.model.load_state_dict(within("model", state))
        self.callback.load_state_dict(within("companion", state))
        if self.ema is not None:
            self.ema.load_state_dict(state)
        slots = from_state("optimizer", state)
        needed = self._slot_names() if any(slots.values()) else set()
        for name, parameter in self._parameters().items():
            check_slots(slots.get(name, {}), parameter, name, needed)
        saved = {
            number: {slot: laid_out(value, parameter) for slot, value in copied(slots[name]).items()}
            for number, (name, parameter) in enumerate(self._parameters().items())
            if slots.get(name)
        }
        groups, schedule = self.optimizer.state_dict()["param_groups"], self.scheduler.state_dict()
        known = groups_like([plain_group(group) for group in state["groups"]], groups)
        self.optimizer.load_state_dict({"state": saved, "param_groups": known})
        self.scheduler.load_state_dict(like(state["scheduler"], schedule, "scheduler"))
        if state["moment"] is not None:
            placed = {name: tensor.to(self.device) for name, tensor in within("moment", state).items()}
            of_rewind = [{key: value for key, value in group.items() if key != "params"} for group in groups]
            point = like(state["moment"], {"groups": of_rewind, "schedule": schedule}, "moment")
            point["groups"] = groups_like(point["groups"], of_rewind)
            self.rewind_point = RewindPoint.from_state_dict({**placed, **point, "slots": state["moment"]["slots"]})

    def state_bytes(self) -> int:
        """The bytes of the tensors in `state_dict` after the first step."""
        tensors, _ = separated(self.state_dict())
        found = sum(tensor.nbytes for tensor in tensors.values())
        if self.optimizer.state:
            return found
        parameters = self._parameters().values()
        slots = sum(isinstance(v, Tensor) and v.numel() > 1 for v in self._slots_of_one().values())
        return found + slots * sum(parameter.nbytes for parameter in parameters)

    def _slot_names(self) -> set[str]:
        """The names of the optimiser's slots of a parameter after its first step."""
        return set(self._slots_of_one())

    def _slots_of_one(self) -> dict[str, Any]:
        """The optimiser's slots of a parameter like the first one, after a step."""
        probe, like_it = nn.Module(), next(iter(self._parameters().values()))
        probe.register_parameter("probe", nn.Parameter(torch.zeros_like(like_it)))
        trial = optimizer(self.recipe, probe)
        for parameter in probe.parameters():
            parameter.grad = torch.zeros_like(parameter)
        trial.step()
        return {name: value for kept in trial.state.values() for name, value in kept.items()}

    def _take_(self, checkpoint: Checkpoint, callback: Callback) -> None:
        """Train this checkpoint's network."""
        compiled = self.recipe.compile and checkpoint.model is getattr(self, "model", None)
        self.checkpoint, self.model, self.callback = checkpoint, checkpoint.model, callback
        self.memory_format = self._layout()
        lay_out_(self.model, self.memory_format)
        if not compiled:  # rounds that prune weights keep the module and its compiled code
            self.network = torch.compile(self.model) if self.recipe.compile else self.model
        counted = cost(self.model, checkpoint.masks, checkpoint.spec.input)
        self.flops = counted.flops
        """Of a forward pass of one image."""
        self.weight_sparsity = 1 - counted.kept / checkpoint.dense.weights

    def _layout(self) -> torch.memory_format:
        """The fastest layout; contiguous if foreign code sees weights and gradients, since it may view them flat."""
        recipe = self.recipe
        named = {"optimizer": recipe.opt, "regularizer": recipe.reg}
        named["criterion"] = None if recipe.prune is None else recipe.prune.criterion
        if any(name is not None and name not in TABLES[kind] for kind, name in named.items()):
            return CONTIGUOUS
        return layout(self.model, self.checkpoint.spec.input, training=True, amp=recipe.amp)

    def _rewind_(self, point: RewindPoint) -> None:
        average = None if self.ema is None else self.ema.model
        point.back_(self.model, self.optimizer, self.scheduler, average)
        for network in [self.model] if self.ema is None else [self.model, self.ema.network]:
            self.checkpoint.masks.apply_(network)

    def _parameters(self) -> dict[str, nn.Parameter]:
        """All parameters in the optimiser's order: the network's, then the callback's."""
        own = {f"companion/{name}": parameter for name, parameter in self.callback.named_parameters()}
        return {**dict(self.model.named_parameters()), **own}

    def _classify(self, pixels: Tensor) -> Tensor:
        """Logits (B, classes) of pixels in [0, 255], with the tensors by which the callback replaces parameters."""
        inputs = in_type_of(self.model, self.checkpoint.preprocessing(pixels))
        inputs = inputs.contiguous(memory_format=self.memory_format)
        logits = self._outputs(inputs, self.callback.parametrized(self.model))
        if not isinstance(logits, Tensor):
            raise OptionError(
                f"the network returns a {type(logits).__name__} in training, expected only logits (B, classes): leave "
                "out its auxiliary outputs"
            )
        return logits

    def _outputs(self, inputs: Tensor, replaced: Mapping[str, Tensor]) -> Any:
        if not replaced:
            return self.network(inputs)
        return torch.func.functional_call(self.model, dict(replaced), (inputs,))

    def _change_gradients_(self) -> None:
        """Add noise, then clip the norm of all gradients except those of pruned and frozen entries."""
        if self.recipe.noise:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            noises = [self.recipe.noise * torch.randn_like(gradient) for gradient in gradients]
            torch._foreach_add_(gradients, noises)
        if self.recipe.clip is not None:
            self.enforcer.gradients_()
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
