"""shrink: remove what a mask has killed, and prove that the function stays."""

import copy

import torch
from torch import nn

from prunectl.checkpoint import Checkpoint
from prunectl.errors import OptionError, ProofError
from prunectl.measure import cost
from prunectl.structure.dead import bury_
from prunectl.structure.surgery import remove
from prunectl.structure.trace import trace
from prunectl.structure.verify import difference

TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}


def shrink(checkpoint: Checkpoint) -> Checkpoint:
    """A physically smaller network that computes what the masked one computes, with the masks that still prune.

    Surgery and constants are done in float64 and compared with the masked network there, then again in float32; the
    largest relative differences stand in the history under `proof`.

    Raises:
        StructureError: the network cannot be followed.
        ProofError: a difference is above the tolerance (1e-10 in float64, 1e-5 in float32).
    """
    if not checkpoint.masks:
        raise OptionError("nothing is pruned, so nothing can go; run `prunectl prune` first")
    shape, device = checkpoint.spec.input, checkpoint.device
    structure = trace(checkpoint.model, shape)
    masked = copy.deepcopy(checkpoint.model).cpu().double()
    working = copy.deepcopy(masked)
    masks = checkpoint.masks.to(torch.device("cpu"))
    removed = bury_(working, structure, masks, shape)
    small, small_masks = remove(working, masks, structure, removed)
    proof = {"float64": _prove(masked, small, shape, torch.float64)}
    small = small.float()
    proof["float32"] = _prove(masked.float(), small, shape, torch.float32)
    counted = cost(small, small_masks, shape)
    result = {
        "nodes": structure.nodes - int(removed.sum()),
        "removed": int(removed.sum()),
        "parameters": counted.parameters,
        "flops": counted.flops,
        "proof": proof,
    }
    return checkpoint.after("shrink", {}, model=small, masks=small_masks).noting(result).to(device)


def _prove(masked: nn.Module, small: nn.Module, shape: tuple[int, int, int], dtype: torch.dtype) -> float:
    """Compare, and refuse a difference above the tolerance of the type."""
    found, allowed = difference(masked, small, shape), TOLERANCES[dtype]
    if not found <= allowed:  # also when it is nan
        raise ProofError(
            f"the shrunk network differs from the masked one by {found:.2g} in {dtype}, allowed is {allowed:.0e}; "
            "nothing was written: please report the network and this line"
        )
    return found
