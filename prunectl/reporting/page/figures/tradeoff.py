"""Accuracy over a saving: one line per method, with a band over its seeds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prunectl.reporting.curves import Point, Series, Setting, pareto
from prunectl.reporting.formats import share_text, target_text
from prunectl.reporting.page.figures.axes import Measure, SavingAxis
from prunectl.reporting.page.figures.figure import INK, Figure, Styles, drawing, to_svg
from prunectl.reporting.page.figures.hits import Hit

_FEW = 5.0
"""Percentage points."""
_SIZE = (4.7, 3.1)
"""Inches."""
Runs = Callable[[Point], tuple[int, ...]]
"""Returns the rows of an operating point in the table of all checkpoints."""


def trade_off(
    setting: Setting,
    axis: SavingAxis,
    measure: Measure,
    styles: Styles,
    *,
    prefix: str,
    runs: Runs = lambda point: (),
) -> Figure | None:
    """The figure of one saving; None if it was not measured, or is equal for all networks."""
    lines = {s: _line(s, axis, measure) for s in setting.series}
    lines = {series: line for series, line in lines.items() if line}
    every = [entry for line in lines.values() for entry in line]
    dense = _dense(setting, axis, measure)
    if measure.near is not None and (dense is None or not _spreads(every, dense, measure.near)):
        return None
    if not every or len({round(x, 9) for x, *_ in [*every, *([dense] if dense else [])]}) < 2:
        return None
    sign = _sign(axis)
    front = {id(every[i]) for i in pareto([(sign * x, y.mean) for x, y, _ in every])}
    title = f"{measure.title} over {axis.title}"
    alt = _alt(title, lines, dense)
    name = f"{prefix}-{measure.name}-{axis.name}"
    with drawing(*_SIZE) as (figure, axes):
        _draw(axes, lines, dense, styles, joined=axis.scale != "zero")
        hits = _hits(axes, lines, dense, styles, (axis, measure), runs)
        _scale(axes, axis, [x for x, *_ in every] + ([dense[0]] if dense else []))
        _room(axes)
        if measure.near is not None and dense is not None:
            top = max(y.mean + (y.std or 0) for _, y, _ in [*every, dense])
            axes.set_ylim(100 * dense[1].mean - measure.near, min(100 * top, 100) + 0.2)
        axes.set_xlabel(axis.label)
        axes.set_ylabel(f"{measure.title.partition(',')[0].removeprefix('close to dense: ')} (%)")
        svg = to_svg(figure, name, alt, [hit for hit, _ in hits], [hit for hit, key in hits if key in front])
    columns = ("method", "target", axis.label, f"{measure.title} mean", "std", "seeds", "pareto")
    numbers = _numbers(lines, dense, front)
    return Figure(name, title[0].upper() + title[1:], axis.note, alt, svg, columns, numbers)


_Plotted = tuple[float, Any, Point]
"""The saving, the `Stat` of the accuracy, and the operating point."""


def _line(series: Series, axis: SavingAxis, measure: Measure) -> list[_Plotted]:
    found = [(axis.value(point), point.stat(measure.value), point) for point in series.points]
    return [(x, y, point) for x, y, point in found if x is not None and y is not None]


def _dense(setting: Setting, axis: SavingAxis, measure: Measure) -> _Plotted | None:
    if setting.dense is None:
        return None
    x, y = axis.value(setting.dense), setting.dense.stat(measure.value)
    return None if x is None or y is None else (x, y, setting.dense)


def _spreads(every: Sequence[_Plotted], dense: _Plotted, near: float) -> bool:
    """Whether some points are so low that those close to the dense network overlap."""
    return any(dense[1].mean - y.mean > 3 * near / 100 for _, y, _ in every)


def _draw(
    axes: Any, lines: Mapping[Series, list[_Plotted]], dense: _Plotted | None, styles: Styles, *, joined: bool
) -> None:
    """Draw the dense baseline, then a line with a band per method, or points with whiskers if not `joined`."""
    if dense:
        x, y, _ = dense
        axes.axhline(100 * y.mean, color=INK, linewidth=1, linestyle=(0, (6, 3)), gid="dense")
        if y.std:
            axes.axhspan(100 * (y.mean - y.std), 100 * (y.mean + y.std), color=INK, alpha=0.08, linewidth=0)
        axes.plot([x], [100 * y.mean], marker="h", color=INK, markersize=7, gid="dense-point")
    for series, line in lines.items():
        style = styles[series.label]
        xs, means = [x for x, *_ in line], [100 * y.mean for _, y, _ in line]
        low = [100 * (y.mean - (y.std or 0)) for _, y, _ in line]
        high = [100 * (y.mean + (y.std or 0)) for _, y, _ in line]
        if joined:
            axes.fill_between(
                xs, low, high, color=style.colour, alpha=0.15, linewidth=0, gid=f"series-{style.number}-band"
            )
            axes.plot(xs, means, **style.line, gid=f"series-{style.number}-line")
        else:
            axes.vlines(xs, low, high, color=style.colour, linewidth=1, alpha=0.5, gid=f"series-{style.number}-band")
            axes.plot(xs, means, **{**style.line, "linestyle": "none"}, gid=f"series-{style.number}-line")


def _hits(
    axes: Any,
    lines: Mapping[Series, list[_Plotted]],
    dense: _Plotted | None,
    styles: Styles,
    plotted: tuple[SavingAxis, Measure],
    runs: Runs,
) -> list[tuple[Hit, int]]:
    """The tooltip of each point, with links to its runs and its series, target and seeds."""
    found: list[tuple[Hit, int]] = []
    sign = _sign(plotted[0])
    if dense:
        x, y, point = dense
        text = f"dense: {share_text(y)} % ({_seeds(y.count)})"
        found.append((Hit(axes, x, 100 * y.mean, text, runs=runs(point)), id(dense)))
    for series, line in lines.items():
        for entry in line:
            x, y, point = entry
            drop = f", {100 * (y.mean - dense[1].mean):+.2f} to dense" if dense else ""
            target = target_text(point.target)
            text = f"{series.label} {target}: {share_text(y)} %{drop} ({_seeds(y.count)})"
            number = styles[series.label].number
            alone = tuple(_single_seeds(point, *plotted))
            found.append((Hit(axes, x, 100 * y.mean, text, number, runs(point), target, sign * x, alone), id(entry)))
    return found


def _single_seeds(point: Point, axis: SavingAxis, measure: Measure) -> Iterator[tuple[str, float, float, float]]:
    """Seed, saving, percent and cost of each row of an operating point."""
    for row in point.rows:
        alone = replace(point, rows=(row,))
        x, y = axis.value(alone), alone.stat(measure.value)
        if x is not None and y is not None and row["seed"] is not None:
            yield str(row["seed"]), x, 100 * y.mean, _sign(axis) * x


def _sign(axis: SavingAxis) -> int:
    """1 if less of the saving is better, else -1."""
    return 1 if axis.better == "less" else -1


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"


def _room(axes: Any) -> None:
    """Show a range of at least a few percentage points (the size of seed noise), and nothing above 100 %."""
    low, high = axes.get_ylim()
    more = max(_FEW - (high - low), 0) / 2
    low, high = max(low - more, -0.5), min(high + more, 101.5)
    axes.set_ylim(low, max(high, low + _FEW))


def _scale(axes: Any, axis: SavingAxis, xs: Sequence[float]) -> None:
    """Set the usual scale of this axis, with round ticks."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator  # noqa: PLC0415

    if axis.scale in {"times", "log"}:
        axes.set_xscale("log", base=2 if axis.scale == "times" else 10)
        ticks = _powers(min(xs), max(xs)) if axis.scale == "times" else _decades(min(xs), max(xs))
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        suffix = "×" if axis.scale == "times" else ""
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: f"{x:,.0f}{suffix}" if x >= 100 else f"{x:.3g}{suffix}")
        )
    if axis.scale == "zero":
        axes.set_xlim(0, 1.08 * max(xs))
    if axis.scale == "log":
        axes.invert_xaxis()
    if axis.scale == "share":
        if max(xs) > 8 * min(xs):
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_locator(FixedLocator(_powers(min(xs), max(xs))))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g}×"))
        axes.invert_xaxis()
    if axis.name == "weights":
        above = axes.secondary_xaxis("top")
        above.set_xscale("log", base=2)
        above.spines["top"].set_visible(False)
        above.xaxis.set_major_locator(FixedLocator(_apart([1 / (1 - s) for s in _SPARSITIES], min(xs), max(xs))))
        above.xaxis.set_minor_locator(NullLocator())
        above.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * (1 - 1 / x):.3g} %"))
        above.tick_params(length=0, pad=1)


_SPARSITIES = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)


def _apart(ticks: Sequence[float], low: float, high: float) -> list[float]:
    """The ticks within the range that leave room for their labels on a logarithmic axis."""
    room = (max(high, 2) / max(low, 1e-9)) ** 0.115
    found: list[float] = []
    for tick in ticks:
        if tick <= high * 1.1 and (not found or tick / found[-1] >= room):
            found.append(tick)
    return found


def _powers(low: float, high: float) -> list[float]:
    """At most eight powers of two within the values."""
    exponents = range(-10, 24)
    inside = [2.0**e for e in exponents if low / 1.2 <= 2.0**e <= high * 1.2]
    every = -(-len(inside) // 8) or 1
    return inside[::every]


def _decades(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... within the values."""
    inside = [m * 10.0**e for e in range(-6, 12) for m in (1, 2, 5) if low / 1.2 <= m * 10.0**e <= high * 1.2]
    return inside if len(inside) <= 7 else [x for x in inside if f"{x:e}"[0] == "1"]


def _alt(title: str, lines: Mapping[Series, list[_Plotted]], dense: _Plotted | None) -> str:
    """The figure in a sentence or two."""
    parts = [
        f"{series.label} goes from {share_text(line[0][1])} to {share_text(line[-1][1])} percent"
        for series, line in lines.items()
    ]
    base = f" The dense network has {share_text(dense[1])} percent." if dense else ""
    return f"Line chart: {title}. " + "; ".join(parts) + "." + base


def _numbers(
    lines: Mapping[Series, list[_Plotted]], dense: _Plotted | None, front: set[int]
) -> tuple[tuple[Any, ...], ...]:
    found: list[tuple[Any, ...]] = []
    if dense:
        x, y, _ = dense
        found.append(("dense", None, x, y.mean, y.std, y.count, None))
    for series, line in lines.items():
        found += [
            (series.label, entry[2].target, entry[0], entry[1].mean, entry[1].std, entry[1].count, id(entry) in front)
            for entry in line
        ]
    return tuple(found)
