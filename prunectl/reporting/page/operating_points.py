"""The table of operating points."""

from collections.abc import Callable
from dataclasses import replace

from prunectl.reporting.curves import Point, Setting, Stat
from prunectl.reporting.formats import share_text, target_text
from prunectl.reporting.page.blocks import Cell, Table

_COLUMNS = (
    "method",
    "pruned",
    "target",
    "seeds",
    "fewer weights",
    "theoretical speed-up",
    "node sparsity",
    "top-1 %",
    "to dense",
    "top-5 %",
    "training FLOPs / dense",
    "KB",
    "ms per image (by eval)",
)


def points_table(setting: Setting, *, prefix: str, runs: Callable[[Point], tuple[int, ...]]) -> Table:
    """One row per operating point, with means and standard deviations over seeds; `runs` are the rows it links to."""

    def row(label: str, when: str, point: Point) -> tuple[Cell, ...]:
        first, *others = _row(label, when, point, setting.dense)
        found = runs(point)
        return (replace(first, link=f"run-{found[0]}") if found else first, *others)

    rows = [row("dense", "", setting.dense)] if setting.dense else []
    rows += [row(series.label, f"{series.when} training", point) for series, point in setting.points]
    numeric = (False, False, *(True,) * (len(_COLUMNS) - 2))
    caption = "Operating points: mean ± standard deviation over seeds"
    filters = ("method", "target") if len(rows) > 3 else ()
    return Table(f"{prefix}-points", caption, _COLUMNS, numeric, tuple(rows), filters=filters)


def _row(label: str, when: str, point: Point, dense: Point | None) -> tuple[Cell, ...]:
    top1 = point.stat("accuracy")
    base, spent = (dense.stat(key) if dense else None for key in ("accuracy", "training_flops"))
    own = point.stat("training_flops")
    drop = 100 * (top1.mean - base.mean) if top1 and base and point is not dense else None
    target, taken = point.target, point.median("latency_1_s")
    return (
        Cell(label),
        Cell(when),
        Cell(target_text(target), target if isinstance(target, float) else None),
        Cell(str(len(point.rows)), len(point.rows)),
        _number(point.stat("compression"), "{:.3g}×"),
        _number(point.stat("speedup"), "{:.3g}×"),
        _number(point.stat("node_sparsity"), "{:.3f}"),
        _share(top1),
        Cell("-" if drop is None else f"{drop:+.2f}", drop),
        _share(point.stat("top5")),
        Cell(f"{own.mean / spent.mean:.3g}×", own.mean / spent.mean) if spent and own else Cell("-"),
        _number(point.stat("compressed_bytes"), "{:,.1f}", 1e-3),
        Cell("-") if taken is None else Cell(f"{1e3 * taken:.3g}", taken),
    )


def _number(stat: Stat | None, form: str, factor: float = 1.0) -> Cell:
    return Cell("-") if stat is None else Cell(form.format(stat.mean * factor), stat.mean)


def _share(stat: Stat | None) -> Cell:
    return Cell(share_text(stat), None if stat is None else stat.mean)
