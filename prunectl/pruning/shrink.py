"""shrink: removes pruned nodes, and proves that the function stays the same."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.others import ShrinkOptions
from prunectl.checkpoints.options.values import recorded
from prunectl.errors import OptionError, ProofError
from prunectl.measuring.cost import cost
from prunectl.plugins.registry import unknown
from prunectl.pruning.removal import Removal
from prunectl.structure.nodes import FROZEN
from prunectl.structure.surgery.build import built, compared, made, planned_alive
from prunectl.structure.surgery.cut import cut_masks
from prunectl.structure.surgery.gradient_check import training_doubt
from prunectl.structure.surgery.plan import Plan
from prunectl.structure.surgery.proof import Reference, like_images
from prunectl.structure.trace import named_tensors
from prunectl.torchtools.copies import in_type

TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}
NORMS = ("exact", "alive")
ROUNDING = 4.0
Report = Callable[[str], None]
"""Called with the current step."""


def shrink(
    checkpoint: Checkpoint, *, norm: str = "exact", constants: bool = True, report: Report = lambda doing: None
) -> Checkpoint:
    """A physically smaller network that computes the same as the masked one, with the masks that still prune.

    Surgery and constants are done in float64 and compared with the masked network there, then again in float32; the
    result has the types of the given network. The largest relative differences are recorded in the history under
    `proof`. Normalisations over channels of which some are removed keep the statistics of the original width; with
    `norm` "alive" they use those of the kept channels, which changes the outputs; the change is under `change`. If a
    rewritten graph would not train like the masked network, the reason is under `training`. Layers that the last
    pruning kept keep their shapes. `report` is called with the current step. Without `constants`, only nodes that are
    masked on all their parameters are removed, so that a training continues like that of the masked network, which
    still trains constants.

    Raises:
        StructureError: the network cannot be traced, or the smaller network cannot be run.
        ProofError: a difference is above the tolerance: 1e-10 in float64, if the network's own code computes in it; in
            float32 1e-5, or four times the masked network's own difference between float32 and float64. A network in
            bfloat16 or float16 is also proved in that type, with four times its rounding.
    """
    if norm not in NORMS:
        raise unknown("norm", norm, NORMS)
    if not checkpoint.masks:
        raise OptionError("nothing to remove: this checkpoint is not pruned; run `prunectl prune` first")
    shape = checkpoint.spec.input
    report("tracing the network, finding nodes")
    found = Removal.of(checkpoint, constants=constants)
    whole, masked, working, expected = found.whole, found.masked, found.working, found.expected
    masks, analysis, removed = whole.masks, found.analysis, found.removed
    image = analysis.structure.image
    # a network whose own code casts to float32 is not more exact than that
    tolerance = TOLERANCES[torch.float32 if analysis.flow.graph.casts else torch.float64]
    report("proof in float64")
    double = built(expected, working, analysis, removed, tolerance)
    plan = double.plan
    proof = {"float64": _within(double.difference, tolerance, torch.float64)}
    doubt = training_doubt(masked, double.network, plan.kept, shape, expected.draw) if plan.graph else None
    del double
    report("proof in float32")
    own = _in_types_of(whole.model, working)
    # 64-bit values that came from 32 bits return to the same ones
    single = expected.of(in_type(masked, torch.float32) if own is not None else whole.model)
    expected = expected.alone()
    flow = analysis if norm == "alive" else None
    del found, masked, analysis  # frees the network in float64 before its copy in float32 is made
    working = working.float()
    small = made(working, plan, shape)
    # a network that amplifies rounding may differ as much as its float32 version differs from float64
    allowed = max(TOLERANCES[torch.float32], ROUNDING * expected.difference(single))
    proof["float32"] = _within(compared(single, small, plan), allowed, torch.float32)
    result: dict[str, object] = {"proof": proof}
    if flow is not None:
        plan = planned_alive(plan, working, flow, removed)
        small = made(working, plan, shape)
        result["change"] = single.difference(small)
    if own is not None:
        small = made(own, plan, shape)
        if norm != "alive":
            proof |= _proof_in_own_type(expected, whole.model, small, plan)
    small_masks = cut_masks(masks, plan.kept)
    small.train(checkpoint.model.training)
    counted = cost(small, small_masks, shape)
    gone = int(removed.sum()) - int(removed[image[image != FROZEN]].sum())
    nodes = whole.nodes - gone
    result |= {
        "nodes": nodes,
        "removed": whole.nodes_present - nodes,
        "parameters": counted.parameters,
        "flops": counted.flops,
        "runs": "graph" if plan.graph else "modules",
        **({} if doubt is None else {"training": doubt}),
    }
    shrunk = checkpoint.after(
        "shrink",
        recorded(ShrinkOptions(norm)),
        model=small,
        masks=small_masks,
        edits=plan.after(whole.kept, whole.edits).to_edits(),
    )
    return shrunk.with_result(result).to(checkpoint.device)


def _in_types_of(stored: nn.Module, working: nn.Module) -> nn.Module | None:
    """A copy of `working` with every tensor in its stored type; None if float32 is the only type."""
    types = {name: tensor.dtype for name, tensor in named_tensors(stored).items()}
    if not any(dtype.is_floating_point and dtype != torch.float32 for dtype in types.values()):
        return None
    cast = copy.deepcopy(working)
    for name, tensor in named_tensors(cast).items():
        tensor.data = tensor.data.to(types[name])
    return cast


def _proof_in_own_type(expected: Reference, stored: nn.Module, small: nn.Module, plan: Plan) -> dict[str, float]:
    """Prove the stored network in its own type: constants in biases were rounded to it.

    The masked network in that type differs from its float64 values only by rounding; the smaller one may differ from it
    by four times as much.
    """
    dtype = like_images(small).dtype
    if dtype in TOLERANCES:
        return {}
    own = expected.of(stored)
    allowed = ROUNDING * max(torch.finfo(dtype).eps, expected.difference(own))
    return {str(dtype).removeprefix("torch."): _within(compared(own, small, plan), allowed, dtype)}


def _within(found: float, allowed: float, dtype: torch.dtype) -> float:
    """Refuse a difference above the allowed one."""
    if not found <= allowed:  # also if it is nan
        raise ProofError(
            f"the shrunk network differs from the masked one by {found:.2g} in {dtype}, above the allowed "
            f"{allowed:.0e}; nothing was written; please report the network and this line"
        )
    return found
