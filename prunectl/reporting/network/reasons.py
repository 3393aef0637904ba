"""Why a pruned network is not faster, or less so than its FLOPs promise."""

from collections.abc import Mapping, Sequence
from statistics import median

from torch import nn

from prunectl.masks import Masks, prunable
from prunectl.measuring.cost import cost
from prunectl.reporting.findings import Timing

_NO_FASTER, _FASTER = 0.9, 1.1
_SLOWER_THAN_FLOPS = 0.67
_TINY = 2e-3
"""Seconds of a dense network below which the overhead between operations dominates."""
_BOUND = 10.0
"""FLOPs per byte of weights below which memory, not arithmetic, is the limit."""
_EIGHT = 8


def reasons(timings: Sequence[Timing], networks: Mapping[str, nn.Module], shape: tuple[int, int, int]) -> list[str]:
    """One line for each likely reason."""
    found = []
    at = {(t.network, t.runtime, t.batch): t.median_s for t in timings}
    masked = [at[key] / at["dense", *key[1:]] for key in at if key[0] == "masked"]
    if masked and median(masked) > _NO_FASTER:
        found.append(
            "Masked: no faster than dense: the same kernels multiply by the zeros. Only removed nodes save time."
        )
    small = networks.get("shrunk")
    if small is None:
        return found
    flops = {name: cost(networks[name], Masks.dense(), shape).flops for name in ("dense", "shrunk")}
    promised = flops["dense"] / max(flops["shrunk"], 1)
    for batch in sorted({t.batch for t in timings}):
        times = at["dense", "torch", batch] / at["shrunk", "torch", batch]
        if times >= min(promised, max(_SLOWER_THAN_FLOPS * promised, _FASTER)):
            continue
        why = _why(small, at["dense", "torch", batch], flops["shrunk"] * batch, batch)
        if why:
            gain = f"{times:.2f}x the speed of dense, while its FLOPs promise {promised:.2f}x"
            found.append(f"Shrunk, batch {batch}: {gain}. Likely: {'; '.join(why)}.")
    return found


def _why(small: nn.Module, dense_s: float, flops: int, batch: int) -> list[str]:
    weights = prunable(small)
    size = sum(weight.numel() * weight.element_size() for weight in weights.values())
    odd = [name for name, weight in weights.items() if len(weight) % _EIGHT and len(weight) > _EIGHT]
    found = []
    if dense_s < _TINY:
        found.append(
            f"too small: the dense network takes {1e3 * dense_s:.2f} ms, most of it overhead between operations"
        )
    if flops / max(size, 1) < _BOUND:
        found.append(f"memory-bound: only {flops / max(size, 1):.1f} FLOPs per byte of weights")
    if odd:
        found.append(
            f"odd widths: the outputs of {len(odd)} of {len(weights)} layers are not a multiple of {_EIGHT} "
            f"(`prunectl prune --multiple-of {_EIGHT}`)"
        )
    return found
