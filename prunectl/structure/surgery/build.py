"""The smaller network: its own code where that runs the smaller tensors and computes the same, else its graph."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from prunectl.structure.operations import Impossible
from prunectl.structure.surgery.cut import cut_model, kept_indices
from prunectl.structure.surgery.edits import edits_for
from prunectl.structure.surgery.plan import Plan
from prunectl.structure.surgery.proof import FEW_BATCHES, DrawImages, difference, noise
from prunectl.structure.trace import Analysis

Shape = tuple[int, int, int]


def planned(
    masked: nn.Module,
    working: nn.Module,
    analysis: Analysis,
    removed: Tensor,
    shape: Shape,
    tolerance: float,
    draw: DrawImages = noise,
) -> Plan:
    """How to make the network without the `removed` nodes (bool, (nodes,)), so that it computes what `masked` does.

    `working` holds the tensors that are cut: those of `masked`, with constants folded into biases.
    """
    kept = kept_indices(analysis.structure, removed)
    if ("", 1) in kept:
        return Plan(kept, graph=True, why="channels of the image are gone")
    try:
        plan = Plan(kept, edits_for(masked, analysis.flow, gone_labels(analysis, removed), alive=False))
        found = difference(masked, made(working, plan, shape), shape, batches=FEW_BATCHES, draw=draw)
    except Impossible:
        return Plan(kept, graph=True, why="it uses the original widths")
    except Exception as error:  # the network's own code may raise anything
        return Plan(kept, graph=True, why=str(error).strip().partition("\n")[0] or type(error).__name__)
    return plan if found <= tolerance else Plan(kept, graph=True, why=f"it gives outputs that differ by {found:.2g}")


def planned_alive(plan: Plan, working: nn.Module, analysis: Analysis, removed: Tensor) -> Plan:
    """The same plan, with the statistics of norms over what is left."""
    if not plan.graph:
        try:
            return Plan(
                plan.kept, edits_for(working, analysis.flow, gone_labels(analysis, removed), alive=True), alive=True
            )
        except Impossible:
            pass
    return Plan(plan.kept, graph=True, alive=True)


def made(whole: nn.Module, plan: Plan, shape: Shape) -> nn.Module:
    """The smaller network of a plan, from one in the original shapes."""
    small = cut_model(whole, plan.kept)
    plan.apply_(small)
    return plan.finish_(small, whole, shape)


def without(model: nn.Module, analysis: Analysis, removed: Tensor, shape: Shape) -> nn.Module:
    """A network that is smaller by the `removed` nodes and can be run; `model` itself is left as it is."""
    zeroed = zero_out(model, analysis, removed)
    plan = planned(zeroed, zeroed, analysis, removed, shape, tolerance=1e-3)
    small = made(zeroed, plan, shape)
    if plan.graph:
        difference(zeroed, small, shape, batches=FEW_BATCHES)  # raises where the smaller network cannot run
    return small


def zero_out(model: nn.Module, analysis: Analysis, removed: Tensor) -> nn.Module:
    """A copy in which every parameter is zero at the `removed` nodes, on all its axes."""
    zeroed, gone = copy.deepcopy(model), analysis.structure.gone(removed)
    with torch.no_grad():
        for name, parameter in zeroed.named_parameters():
            for axis in range(parameter.ndim):
                classes = analysis.structure.axes.get((name, axis))
                if classes is not None:
                    parameter.index_fill_(axis, torch.nonzero(gone[classes]).flatten().to(parameter.device), 0)
    return zeroed


def gone_labels(analysis: Analysis, removed: Tensor) -> np.ndarray:
    """Which labels are removed."""
    gone: np.ndarray = analysis.structure.gone(removed)[analysis.number].numpy()
    return gone
