"""The checklist for reports on pruning of Blalock et al. 2020 (arXiv:2003.03033, "ShrinkBench").

Several seeds, at least five operating points per curve, compression and theoretical speed-up, top-1 and top-5 accuracy,
a random and a magnitude control, the dense network, and the last epoch rather than the best one on the test images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from prunectl.reporting.curves import Setting

POINTS, SEEDS = 5, 3
RANDOM = {"random", "structured-random"}
MAGNITUDE = {"magnitude", "efficient-convnets", "gmp", "imp", "lamp"}


@dataclass(frozen=True)
class Check:
    """One rule: whether it is met, and in one line what was found and what to do."""

    rule: str
    met: bool
    found: str


def checklist(setting: Setting) -> list[Check]:
    """The rules for one network on one dataset."""
    names = {name for series in setting.series for name in (series.criterion or "").split("+")}
    return [
        _seeds(setting),
        _points(setting),
        _both("compression and theoretical speed-up", setting, ("compression", "speedup"), "prunectl eval"),
        _both("top-1 and top-5 accuracy", setting, ("accuracy", "top5"), "prunectl eval"),
        _control("a random control", names & RANDOM, "random (weights) or structured-random (nodes)"),
        _control("a magnitude control", names & MAGNITUDE, "magnitude (weights) or efficient-convnets (nodes)"),
        Check(
            "the dense network",
            setting.dense is not None,
            "trained and measured" if setting.dense else "missing: train and evaluate it with the same settings",
        ),
        Check("the last epoch, not the best on the test images", True, "prunectl keeps the network of the last epoch"),
    ]


def _seeds(setting: Setting) -> Check:
    counts = [len(point.rows) for _, point in setting.points]
    if setting.dense is not None:
        counts.append(len(setting.dense.rows))
    few = [f"{series.label} {_shown(point.target)}" for series, point in setting.points if len(point.rows) < SEEDS]
    low, high = min(counts, default=0), max(counts, default=0)
    found = f"{low}" if low == high else f"{low} to {high}"
    more = "" if low >= SEEDS else f"; run {_some(few) or 'the dense network'} with at least {SEEDS} (--seed)"
    return Check("several seeds", low >= SEEDS, f"{found} per point{more}")


def _points(setting: Setting) -> Check:
    few = [f"{s.label} ({len(s.points)})" for s in setting.series if len(s.points) < POINTS]
    rule = f"at least {POINTS} operating points per curve"
    if not setting.series:
        return Check(rule, False, "no pruned network was measured")
    return Check(rule, not few, f"fewer: {_some(few)}" if few else f"at least {POINTS} in each")


def _both(rule: str, setting: Setting, keys: tuple[str, str], how: str) -> Check:
    lacking = [f"{s.label} {_shown(p.target)}" for s, p in setting.points if any(p.stat(key) is None for key in keys)]
    return Check(rule, not lacking, f"not measured: {_some(lacking)}; run {how}" if lacking else "both measured")


def _control(rule: str, found: set[str], wanted: str) -> Check:
    return Check(rule, bool(found), ", ".join(sorted(found)) if found else f"missing: prune with --criterion {wanted}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shown(target: float | str | None) -> str:
    return f"{target:g}" if isinstance(target, float) else str(target)
