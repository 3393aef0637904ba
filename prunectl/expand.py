"""A shrunk network in the shapes of its dense original, masked where nodes are gone."""

from dataclasses import dataclass

import torch
from torch import nn

from prunectl.checkpoint import Checkpoint, build
from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.structure.plan import Plan
from prunectl.structure.surgery import grown


@dataclass(frozen=True, eq=False)
class Whole:
    """A network in its original shapes. `nodes_present` counts the nodes that are in memory in the smaller one."""

    model: nn.Module
    masks: Masks
    nodes_present: int
    outer: bool


def removed_nodes(checkpoint: Checkpoint) -> int:
    """How many nodes the shrinks of a history have removed."""
    return sum(entry["result"]["removed"] for entry in checkpoint.history if entry["command"] == "shrink")


def expanded(checkpoint: Checkpoint) -> Whole:
    """Undo all shrinks: the masked network that a shrunk one equals; a network that was not shrunk as it is.

    Raises:
        OptionError: it was shrunk with statistics over what is left, which no masked network computes.
    """
    plan = Plan.of(checkpoint.edits)
    outer = any(entry["options"].get("outer_layers") for entry in checkpoint.history)
    present = (checkpoint.dense.nodes or 0) - removed_nodes(checkpoint)
    if not plan.kept:
        return Whole(checkpoint.model, checkpoint.masks, present, outer)
    if plan.alive:
        raise OptionError(
            "this network was shrunk with --norm alive, which no masked network equals; shrink once, at the end"
        )
    cpu = torch.device("cpu")
    with torch.random.fork_rng(devices=[]):
        dense = build(checkpoint.spec)
    model, masks = grown(checkpoint.to(cpu).model, checkpoint.masks.to(cpu), dense, plan.kept)
    return Whole(model.to(checkpoint.device), masks.to(checkpoint.device), present, outer)
