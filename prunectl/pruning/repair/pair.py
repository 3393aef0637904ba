"""Puts a pruned network and its dense reference into the same shapes."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.structure.surgery.cut import Kept, cut, grown
from prunectl.structure.surgery.plan import Plan
from prunectl.structure.surgery.resize import load_state_
from prunectl.structure.trace import named_tensors


@dataclass(frozen=True, eq=False)
class Pair:
    """`model` may be changed; `dense` are the tensors of the reference by name, None without one."""

    model: nn.Module
    masks: Masks
    dense: dict[str, Tensor] | None
    kept: Kept

    def result(self, checkpoint: Checkpoint) -> nn.Module:
        """The repaired network, in the shapes of the repaired checkpoint."""
        if self.model.training != checkpoint.model.training:
            self.model.train(checkpoint.model.training)
        if not self.kept:
            return self.model
        small = copy.deepcopy(checkpoint.model)
        state = cut(self.model.state_dict(), self.kept)
        load_state_(small, {name: tensor.detach().clone() for name, tensor in state.items()}, "the repaired network")
        return small


def paired(checkpoint: Checkpoint, reference: Checkpoint | None, *, in_place: bool = False) -> Pair:
    """Put a checkpoint and its reference into the same shapes, those of the dense network if one of them is smaller.

    With `in_place`, the checkpoint's own network may be changed if the shapes agree.

    Raises:
        OptionError: the reference is another network, or one was shrunk with statistics over the kept channels.
    """
    if reference is not None and not _alike(checkpoint, reference):
        raise OptionError(
            f"the reference is {_described(reference)}, but the pruned network is {_described(checkpoint)}; use the "
            "checkpoint that it was pruned from"
        )
    plan = Plan.of(checkpoint.edits)
    if not plan.kept and (reference is None or not reference.edits):
        dense = None if reference is None else named_tensors(reference.to(checkpoint.device).model)
        own = checkpoint.model if in_place else copy.deepcopy(checkpoint.model)
        return Pair(own, checkpoint.masks, dense, {})
    model, masks = _whole(checkpoint)
    dense = None if reference is None else named_tensors(_whole(reference)[0].to(checkpoint.device))
    return Pair(model.to(checkpoint.device), masks.to(checkpoint.device), dense, plan.kept)


def _whole(checkpoint: Checkpoint) -> tuple[nn.Module, Masks]:
    """A network in the shapes of its dense original, on the cpu."""
    plan, cpu = Plan.of(checkpoint.edits), torch.device("cpu")
    if plan.alive:
        raise OptionError('a network shrunk with `norm` "alive" equals no masked one; repair it before shrinking')
    with torch.random.fork_rng(devices=[]):
        dense = checkpoint.dense_network()
    return grown(checkpoint.to(cpu).model, checkpoint.masks.to(cpu), dense, plan.kept)


def _alike(one: Checkpoint, other: Checkpoint) -> bool:
    return one.spec == other.spec


def _described(checkpoint: Checkpoint) -> str:
    size = "x".join(map(str, checkpoint.spec.input))
    options = "".join(f" {key}={value}" for key, value in checkpoint.spec.options.items())
    return f"{checkpoint.spec.name}{options} for {size} images of {checkpoint.spec.classes} classes"
