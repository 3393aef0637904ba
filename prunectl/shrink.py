"""shrink: remove what a mask has killed, and prove that the function stays."""

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from prunectl.checkpoint import Checkpoint
from prunectl.errors import OptionError, ProofError
from prunectl.expand import expanded
from prunectl.masks import Masks
from prunectl.measure import cost
from prunectl.registry import unknown
from prunectl.structure.dead import bury_
from prunectl.structure.edits import Impossible, edits_for
from prunectl.structure.plan import Plan
from prunectl.structure.surgery import cut_masks, cut_model, kept_indices
from prunectl.structure.trace import Analysis, analyse
from prunectl.structure.verify import difference

TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}
NORMS = ("exact", "alive")


def shrink(checkpoint: Checkpoint, *, norm: str = "exact") -> Checkpoint:
    """A physically smaller network that computes what the masked one computes, with the masks that still prune.

    Surgery and constants are done in float64 and compared with the masked network there, then again in float32; the
    largest relative differences stand in the history under `proof`. Normalisations over channels of which some are gone
    keep the statistics of the original width; with `norm` "alive" they take those of what is left, which changes the
    function: by how much stands under `change`.

    Raises:
        StructureError: the network cannot be followed.
        ProofError: a difference is above the tolerance (1e-10 in float64, 1e-5 in float32).
    """
    if norm not in NORMS:
        raise unknown("norm", norm, NORMS)
    if not checkpoint.masks:
        raise OptionError("nothing is pruned, so nothing can go; run `prunectl prune` first")
    shape = checkpoint.spec.input
    whole = expanded(checkpoint.to(torch.device("cpu")))
    masked = copy.deepcopy(whole.model).double()
    analysis = analyse(masked, shape, outer=whole.outer)
    working = copy.deepcopy(masked)
    removed = bury_(working, analysis, whole.masks)
    plan, proof = _proved(masked, working, analysis, removed, shape)
    small = _made(working.float(), plan, shape)
    proof["float32"] = _prove(masked.float(), small, shape, torch.float32)
    result: dict[str, object] = {"proof": proof}
    if norm == "alive":
        plan = _proved_alive(plan, working, analysis, removed)
        small = _made(working, plan, shape)
        result["change"] = difference(masked, small, shape)
    small_masks = cut_masks(whole.masks, plan.kept)
    small.train(checkpoint.model.training)
    counted = cost(small, small_masks, shape)
    gone = int(removed.sum()) - int(removed[analysis.structure.image[analysis.structure.image >= 0]].sum())
    earlier = (checkpoint.dense.nodes or 0) - whole.nodes_present
    result |= {
        "nodes": (checkpoint.dense.nodes or analysis.structure.nodes) - gone,
        "removed": gone - earlier,
        "parameters": counted.parameters,
        "flops": counted.flops,
        "runs": "graph" if plan.graph else "modules",
    }
    options = {} if norm == "exact" else {"norm": norm}
    made = checkpoint.after("shrink", options, model=small, masks=small_masks, edits=plan.to_edits())
    return made.noting(result).to(checkpoint.device)


def _proved(
    masked: nn.Module, working: nn.Module, analysis: Analysis, removed: Tensor, shape: tuple[int, int, int]
) -> tuple[Plan, dict[str, float]]:
    """The plan under which the smaller network equals the masked one: its own code where that works, else its graph."""
    kept = kept_indices(analysis.structure, removed)
    try:
        edits = edits_for(masked, analysis.flow, _gone(analysis, removed), alive=False)
        plan = Plan(kept, edits, graph=("", 1) in kept)
        found = difference(masked, _made(working, plan, shape), shape)
        if found <= TOLERANCES[torch.float64]:
            return plan, {"float64": found}
    except (Impossible, RuntimeError, ValueError, TypeError, AttributeError, IndexError, AssertionError):
        pass  # the network's own code does not fit the smaller tensors
    plan = Plan(kept, graph=True)
    return plan, {"float64": _prove(masked, _made(working, plan, shape), shape, torch.float64)}


def _proved_alive(plan: Plan, working: nn.Module, analysis: Analysis, removed: Tensor) -> Plan:
    """The same plan with statistics over what is left."""
    if plan.graph:
        return replace(plan, alive=True)
    try:
        return Plan(plan.kept, edits_for(working, analysis.flow, _gone(analysis, removed), alive=True), alive=True)
    except Impossible:
        return Plan(plan.kept, graph=True, alive=True)


def _made(whole: nn.Module, plan: Plan, shape: tuple[int, int, int]) -> nn.Module:
    """The smaller network of a plan, from the dense one with its constants folded."""
    small = cut_model(whole, plan.kept)
    if not plan.graph:
        plan.apply_(small)
    return plan.finish_(small, whole, shape)


def _gone(analysis: Analysis, removed: Tensor) -> np.ndarray:
    """Which labels are removed."""
    gone: np.ndarray = analysis.structure.gone(removed)[analysis.number].numpy()
    return gone


def _prove(masked: nn.Module, small: nn.Module, shape: tuple[int, int, int], dtype: torch.dtype) -> float:
    """Compare, and refuse a difference above the tolerance of the type."""
    found, allowed = difference(masked, small, shape), TOLERANCES[dtype]
    if not found <= allowed:  # also when it is nan
        raise ProofError(
            f"the shrunk network differs from the masked one by {found:.2g} in {dtype}, allowed is {allowed:.0e}; "
            "nothing was written: please report the network and this line"
        )
    return found


__all__ = ["NORMS", "TOLERANCES", "Masks", "shrink"]
