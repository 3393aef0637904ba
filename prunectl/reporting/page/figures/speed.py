"""Measured times as bars with whiskers."""

from prunectl.reporting.findings import Speed, Timing
from prunectl.reporting.page.figures.figure import INK, SERIES, Figure, drawing, to_svg

_COLOURS = {"dense": INK, "masked": SERIES[4], "shrunk": SERIES[2]}


def speed_bars(speed: Speed, batch: int, *, prefix: str) -> Figure | None:
    """Milliseconds for a batch: bars are medians, whiskers quartiles."""
    timings = [timing for timing in speed.timings if timing.batch == batch]
    if not timings:
        return None
    dense = {timing.runtime: timing.median_s for timing in timings if timing.network == "dense"}
    alt = f"Bar chart: time for a batch of {batch}. " + "; ".join(
        f"{timing.network} in {timing.runtime} {_shown(timing)}" for timing in timings
    )
    name = f"{prefix}-speed-{batch}"
    with drawing(height=0.7 + 0.34 * len(timings)) as (figure, axes):
        most = max(timing.high_s for timing in timings) * 1e3
        for place, timing in enumerate(timings):
            median = 1e3 * timing.median_s
            whiskers = [[median - 1e3 * timing.low_s], [1e3 * timing.high_s - median]]
            axes.barh(place, median, color=_COLOURS[timing.network], alpha=0.55, height=0.68)
            axes.errorbar(median, place, xerr=whiskers, color=INK, linewidth=1, capsize=2.5)
            times = dense.get(timing.runtime, 0) / timing.median_s
            faster = "" if timing.network == "dense" or not times else f", {times:.2f}×"
            axes.text(1.03 * most, place, f"{_shown(timing)}{faster}", va="center", fontsize=8)
        axes.set_xlim(0, 1.5 * most)
        axes.set_ylim(len(timings) - 0.4, -0.6)
        axes.set_yticks(range(len(timings)), [f"{t.runtime}, {t.network}" for t in timings], fontsize=8)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"time for {batch} image{'s' if batch > 1 else ''} (ms)")
        svg = to_svg(figure, name, alt)
    caption = (
        "Median, with whiskers from the lower to the upper quartile. × is the speed-up over dense in the same runtime."
    )
    columns = ("network", "runtime", "batch", "median_s", "lower_quartile_s", "upper_quartile_s", "runs")
    rows = tuple((t.network, t.runtime, t.batch, t.median_s, t.low_s, t.high_s, t.runs) for t in timings)
    title = "One image" if batch == 1 else f"A batch of {batch}"
    return Figure(name, title, caption, alt, svg, columns, rows)


def _shown(timing: Timing) -> str:
    return f"{1e3 * timing.median_s:.3g} ms"
