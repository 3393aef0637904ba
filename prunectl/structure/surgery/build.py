"""Builds the smaller network: with its own code if that computes the same on smaller tensors, else with its graph."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from prunectl.errors import StructureError
from prunectl.structure.operations import Impossible
from prunectl.structure.surgery.cut import cut_model, kept_indices
from prunectl.structure.surgery.edits import edits_for
from prunectl.structure.surgery.plan import Plan
from prunectl.structure.surgery.proof import FEW_BATCHES, Reference
from prunectl.structure.surgery.resize import set_widths_
from prunectl.structure.trace import Analysis

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Built:
    """A smaller network, the plan that made it, and its largest relative difference to the masked one."""

    plan: Plan
    network: nn.Module
    difference: float


def built(masked: Reference, working: nn.Module, analysis: Analysis, removed: Tensor, tolerance: float) -> Built:
    """The network without the `removed` nodes (bool, (nodes,)); it runs its own code if that computes the same.

    `working` holds the tensors to cut: those of `masked`, with constants folded into biases. A rewritten graph is
    compared, but its difference may exceed the tolerance.

    Raises:
        StructureError: what is left cannot be run.
    """
    kept = kept_indices(analysis.structure, removed)
    why = "channels of the image were removed"
    if ("", 1) not in kept:
        try:
            plan = Plan(kept, edits_for(masked.network, analysis.flow, gone_labels(analysis, removed), alive=False))
            small = made(working, plan, masked.shape)
            found = masked.difference(small)
            if found <= tolerance:
                return Built(plan, small, found)
            why = f"its outputs differ by {found:.2g}"
        except Impossible:
            why = "it uses the original widths"
        except Exception as error:  # noqa: BLE001  (the network's own code may raise anything)
            why = str(error).strip().partition("\n")[0] or type(error).__name__
    plan = Plan(kept, graph=True, why=why)
    small = made(working, plan, masked.shape)
    return Built(plan, small, compared(masked, small, plan))


def compared(masked: Reference, small: nn.Module, plan: Plan) -> float:
    """The difference to the masked network.

    Raises:
        StructureError: the smaller network fails; the message says why it does not run its own code.
    """
    try:
        return masked.difference(small)
    except StructureError as error:
        if plan.why:
            raise StructureError(
                f"{error}; it runs a rewritten graph, because its own code fails: {plan.why}"
            ) from error
        raise


def planned_alive(plan: Plan, working: nn.Module, analysis: Analysis, removed: Tensor) -> Plan:
    """The same plan, with the statistics of norms over the remaining channels."""
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
    set_widths_(small)  # an edit may have changed the groups of a convolution
    return plan.finish_(small, whole, shape)


def without(model: nn.Module, analysis: Analysis, removed: Tensor, shape: Shape) -> nn.Module:
    """A network without the `removed` nodes that can be run; `model` itself does not change."""
    zeroed = zero_out(model, analysis, removed)
    return built(Reference(zeroed, shape, FEW_BATCHES), zeroed, analysis, removed, tolerance=1e-3).network


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
