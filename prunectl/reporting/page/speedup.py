"""Computes how much faster a network is than its dense original, and how that was measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from prunectl.checkpoints.options.runtimes import EAGER
from prunectl.reporting.curves import Point
from prunectl.reporting.findings import Speed, Timing

Speeds = Mapping[str, Speed]
"""The speeds timed in turns for the page, by checkpoint."""
_BY_EVAL = "from separate eval runs"
_RUNTIMES = {EAGER: "torch", "onnx": "ONNX Runtime"}
"""The names of `eval`'s runtimes in `Timing`."""


@dataclass(frozen=True)
class Speedup:
    """Seconds for one image, the dense network's if known, and how both were measured."""

    now: float
    dense: float | None
    how: str
    in_turns: bool


def speedup(
    point: Point, dense: Point | None, speeds: Speeds, runtime: str = EAGER, *, shrunk: bool = False
) -> Speedup | None:
    """The speed of an operating point; None if it was not measured.

    Times in turns are preferred to separate runs of `eval`, between which the load of a machine changes. `shrunk`
    selects the shrunk network if the file is only masked.
    """
    for row in point.rows:
        found = speeds.get(str(row["checkpoint"]))
        if found is not None and (timed := _in_turns(found, runtime, shrunk=shrunk)) is not None:
            return timed
    key = "latency_1_s" if runtime == EAGER else f"latency_{runtime}_1_s"
    now = point.median(key)
    if now is None:
        return None
    return Speedup(now, None if dense is None else dense.median(key), _BY_EVAL, in_turns=False)


def _in_turns(speed: Speed, runtime: str, *, shrunk: bool) -> Speedup | None:
    """The times of one network and of its dense original in a runtime; None if one of them is missing."""
    timed = {each.network: each for each in speed.timings if _is_one(each, runtime)}
    masked = timed.get("masked")
    own = masked if masked is not None and not speed.is_shrunk else timed.get("shrunk")
    now = timed.get("shrunk", own) if shrunk else own
    if now is None or "dense" not in timed:
        return None
    how = f"dense and pruned timed in turns ({speed.device})"
    return Speedup(now.median_s, timed["dense"].median_s, how, in_turns=True)


def _is_one(timing: Timing, runtime: str) -> bool:
    return timing.batch == 1 and timing.runtime == _RUNTIMES.get(runtime)
