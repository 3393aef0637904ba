"""The axes of trade-off figures: savings across, accuracies upwards."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from prunectl.reporting.curves import Point, RowValue, Setting
from prunectl.reporting.rows import ReportRow, images_of
from prunectl.reporting.sources import Sources


@dataclass(frozen=True)
class SavingAxis:
    """A saving on the horizontal axis: a value of each operating point.

    `choice` is its name in the list of axes, `title` that in a figure's title. `better` says whether more or less of it
    is better. The scale `times` is logarithmic with ticks at 2x, 4x, ...; `zero` starts at 0; `share` is linear, but
    logarithmic for a wide range.
    """

    name: str
    choice: str
    title: str
    label: str
    value: Callable[[Point], float | None]
    scale: str = "linear"
    better: str = "more"
    note: str = ""


@dataclass(frozen=True)
class Measure:
    """An accuracy on the vertical axis: a share, shown in percent."""

    name: str
    title: str
    value: RowValue
    near: float | None = None
    """If set, show only this many percentage points below the dense network."""


def _mean(key: str, factor: float = 1.0) -> Callable[[Point], float | None]:
    def value(point: Point) -> float | None:
        found = point.stat(key)
        return None if found is None else found.mean * factor

    return value


def _time(point: Point) -> float | None:
    found = point.median("latency_1_s")
    return None if found is None else 1e3 * found


TOP1 = Measure("top1", "top-1 accuracy", lambda row: row["accuracy"])
CLOSE = Measure("close", "close to dense: top-1 accuracy", lambda row: row["accuracy"], near=6)
TOP5 = Measure("top5", "top-5 accuracy", lambda row: row["top5"])

AXES = (
    SavingAxis(
        "weights",
        "weights",
        "weight sparsity",
        "compression ratio (weights, dense / kept); above: weight sparsity",
        _mean("compression"),
        "times",
        note="Compression ratio: the prunable weights of the dense network divided by those kept.",
    ),
    SavingAxis(
        "nodes",
        "nodes",
        "node sparsity",
        "node sparsity (%)",
        _mean("node_sparsity", 100),
        note="The share of channels and neurons that are removed, or that no path of kept weights connects.",
    ),
    SavingAxis(
        "flops",
        "FLOPs",
        "theoretical speed-up",
        "theoretical speed-up (FLOPs, dense / left), without pruned weights",
        _mean("speedup"),
        "times",
        note="The theoretical speed-up, which only sparse hardware approaches.",
    ),
    SavingAxis(
        "size",
        "size",
        "size",
        "size (KB, smaller to the right), without pruned weights",
        _mean("compressed_bytes", 1e-3),
        "log",
        "less",
        "One bit for every prunable entry, plus the values of the kept ones.",
    ),
    SavingAxis(
        "latency",
        "time",
        "latency",
        "latency of one image (ms)",
        _time,
        "zero",
        "less",
        "Measured by `eval`, the median over seeds. A mask alone saves no time; removed nodes do.",
    ),
)


def training_axis(setting: Setting) -> SavingAxis:
    """The training FLOPs of all trainings that led to a pruned network, divided by those of the dense one."""
    dense = setting.dense.stat("training_flops") if setting.dense else None

    def value(point: Point) -> float | None:
        spent = point.stat("training_flops")
        return spent.mean / dense.mean if dense and spent else None

    return SavingAxis(
        "training",
        "training FLOPs",
        "training FLOPs",
        "training FLOPs (own / dense, fewer to the right)",
        value,
        "share",
        "less",
        "All trainings that led to the network, as executed, including the dense one before pruning.",
    )


def robust_measures(setting: Setting) -> list[Measure]:
    """One measure per attack and ε that was run on any network."""
    found: dict[tuple[str, float], None] = {}
    for point in [*([setting.dense] if setting.dense else []), *(point for _, point in setting.points)]:
        for row in point.rows:
            for attack, results in (row["robust"] or {}).items():
                found |= {(attack, result["eps"]): None for result in results}
    return [
        Measure(f"robust{i}", f"robust accuracy, {attack} at ε = {eps:.3g}", _robust(attack, eps))
        for i, (attack, eps) in enumerate(sorted(found))
    ]


def corruption_measures(sources: Sources) -> list[Measure]:
    """Mean accuracy over severities, one measure per set of corruptions and images."""
    found: dict[str, dict[str, float]] = {}
    for source in sources.given:
        for record in source.attacks:
            if record.get("corruptions"):
                mean = fmean(entry["accuracy"] for entry in record["corruptions"])
                found.setdefault(_corruptions(record), {})[str(source.path)] = mean
    return [
        Measure(f"corruptions{i}", f"accuracy on {name}, mean over severities", _of(found[name]))
        for i, name in enumerate(sorted(found))
    ]


def _corruptions(record: dict[str, Any]) -> str:
    """The corruptions and the images of a record."""
    kinds = dict.fromkeys(entry["corruption"] for entry in record["corruptions"])
    return f"corrupted images ({', '.join(kinds)}){images_of(record)}"


def _of(means: dict[str, float]) -> RowValue:
    return lambda row: means.get(row["checkpoint"])


def _robust(attack: str, eps: float) -> RowValue:
    def value(row: ReportRow) -> float | None:
        results = (row["robust"] or {}).get(attack, [])
        return next((r["robust_accuracy"] for r in results if r["eps"] == eps), None)

    return value
