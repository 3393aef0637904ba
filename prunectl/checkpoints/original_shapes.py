"""Expands a shrunk network to the shapes of its dense original, with masks for removed nodes."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.structure.surgery.cut import Kept, grown
from prunectl.structure.surgery.plan import Plan


@dataclass(frozen=True, eq=False)
class Whole:
    """A network that can be traced, and its masks; `kept` is what is left of the dense network.

    `nodes` counts those of `model`, `nodes_present` those in memory in the smaller network; `outer` says whether
    channels of the image may be pruned too.
    """

    model: nn.Module
    masks: Masks
    kept: Kept
    edits: tuple[dict[str, Any], ...]
    nodes: int
    nodes_present: int
    outer: bool


def nodes_present(checkpoint: Checkpoint) -> int:
    """The number of nodes in memory, from the result of the last command that removed some."""
    if Plan.of(checkpoint.edits).kept:
        return next(int(e.result["nodes"]) for e in reversed(checkpoint.history) if "nodes" in e.result)
    return checkpoint.dense.nodes or 0


def expanded(checkpoint: Checkpoint) -> Whole:
    """The same network, expanded to its original shapes if it runs on swapped modules or a rewritten graph.

    Removed channels are harder to follow through these than through the network's own code.

    Raises:
        OptionError: it was shrunk with statistics over the kept channels, which no masked network computes.
    """
    plan = Plan.of(checkpoint.edits)
    outer = any(entry.options.get("outer_layers") for entry in checkpoint.history)
    present = nodes_present(checkpoint)
    if plan.alive:
        raise OptionError('a network shrunk with `norm` "alive" equals no masked one; use "alive" once, at the end')
    if not plan.graph and not any("swap" in edit for edit in plan.edits):
        return Whole(checkpoint.model, checkpoint.masks, plan.kept, plan.edits, present, present, outer)
    cpu = torch.device("cpu")
    with torch.random.fork_rng(devices=[]):
        dense = checkpoint.dense_network()
    model, masks = grown(checkpoint.to(cpu).model, checkpoint.masks.to(cpu), dense, plan.kept)
    return Whole(
        model.to(checkpoint.device), masks.to(checkpoint.device), {}, (), checkpoint.dense.nodes or 0, present, outer
    )


def retraceable(checkpoint: Checkpoint) -> Checkpoint:
    """The same network as a checkpoint, in the shapes of `expanded`."""
    whole = expanded(checkpoint)
    if whole.model is checkpoint.model:
        return checkpoint
    return replace(checkpoint, model=whole.model, masks=whole.masks, edits=())
