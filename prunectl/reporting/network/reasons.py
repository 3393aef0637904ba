"""Finds reasons why a pruned network is not faster, or less than its FLOPs promise."""

from collections.abc import Mapping, Sequence
from statistics import median

from torch import nn

from prunectl.masks import Masks, prunable
from prunectl.measuring.cost import cost
from prunectl.measuring.widths import BLOCK, hint, odd_widths
from prunectl.reporting.findings import Timing

_NO_FASTER, _FASTER = 0.9, 1.1
_SLOWER_THAN_FLOPS = 0.67
_TINY = 2e-3
"""Seconds of a dense network below which the overhead between operations dominates."""
_BOUND = 10.0
"""FLOPs per byte of weights below which memory, not arithmetic, is the limit."""
_TORCH = "torch"


def reasons(
    timings: Sequence[Timing], networks: Mapping[str, nn.Module], shape: tuple[int, int, int], *, hints: bool = True
) -> list[str]:
    """One line per likely reason; with `hints`, also about odd widths."""
    found = []
    at = {(t.network, t.runtime, t.batch): t.median_s for t in timings}
    masked = [at[key] / at["dense", *key[1:]] for key in at if key[0] == "masked"]
    if masked and median(masked) > _NO_FASTER:
        found.append(
            "Masked: no faster than dense, because the same kernels multiply by zeros. Only removed nodes save time."
        )
    small = networks.get("shrunk")
    if small is None:
        return found
    flops = {name: cost(networks[name], Masks.dense(), shape).flops for name in ("dense", "shrunk")}
    promised = flops["dense"] / max(flops["shrunk"], 1)
    for runtime in dict.fromkeys(t.runtime for t in timings):
        for batch in sorted({t.batch for t in timings if t.runtime == runtime}):
            dense_s, small_s = at["dense", runtime, batch], at.get(("shrunk", runtime, batch))
            times = dense_s / small_s if small_s else promised
            if times >= min(promised, max(_SLOWER_THAN_FLOPS * promised, _FASTER)):
                continue
            why = _why(small, dense_s, flops["shrunk"] * batch)
            if why:
                where = "" if runtime == _TORCH else f" in {runtime}"
                gain = f"{times:.2f}x the speed of dense, but its FLOPs promise {promised:.2f}x"
                found.append(f"Shrunk, batch {batch}{where}: {gain}. Likely: {'; '.join(why)}.")
    slow = hint(small) if hints else None
    return found if slow is None else [*found, f"{slow[0].upper()}{slow[1:]}."]


def _why(small: nn.Module, dense_s: float, flops: int) -> list[str]:
    weights = prunable(small)
    size = sum(weight.numel() * weight.element_size() for weight in weights.values())
    odd = odd_widths(small)
    found = []
    if dense_s < _TINY:
        found.append(
            f"too small: the dense network takes {1e3 * dense_s:.2f} ms, most of it overhead between operations"
        )
    if flops / max(size, 1) < _BOUND:
        found.append(f"memory-bound: only {flops / max(size, 1):.1f} FLOPs per byte of weights")
    if odd:
        found.append(f"odd widths: the outputs of {len(odd)} of {len(weights)} layers are not a multiple of {BLOCK}")
    return found
