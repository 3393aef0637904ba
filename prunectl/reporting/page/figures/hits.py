"""Elements drawn over the points of a figure: tooltips, links to runs, and the rings of the Pareto front."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing


@dataclass(frozen=True)
class Hit:
    """A point in data coordinates of `axes`, and its tooltip.

    `runs` are the rows that it links to in the table of all checkpoints. A candidate for the Pareto front has a `cost`
    (less is better); more `y` is better. `target` is that of its operating point, and `seeds` are the points of single
    seeds: (seed, x, y, cost).
    """

    axes: "Axes"
    x: float
    y: float
    text: str
    series: int | None = None
    runs: tuple[int, ...] = ()
    target: str | None = None
    cost: float | None = None
    seeds: tuple[tuple[str, float, float, float], ...] = ()


def markup(figure: "Drawing", hits: Sequence[Hit], front: Sequence[Hit] = ()) -> str:
    """The elements of all visible hits, and the line through those on the front."""
    shown = [hit for hit in hits if min(hit.axes.get_ylim()) <= hit.y <= max(hit.axes.get_ylim())]
    marks = "".join(_mark(figure, hit, ring=hit in front) for hit in shown)
    if not front:
        return marks
    places = sorted(_place(figure, hit) for hit in front if hit in shown)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline class="pareto front-line" points="{line}"/>{marks}'


def _mark(figure: "Drawing", hit: Hit, *, ring: bool) -> str:
    """A transparent circle that the keyboard can reach; a link if it leads to a run."""
    x, y = _place(figure, hit)
    series = f" series s{hit.series}" if hit.series is not None else ""
    values: dict[str, Any] = {"tip": hit.text, "cost": hit.cost, "y": hit.y, "target": hit.target}
    values["runs"] = " ".join(map(str, hit.runs)) or None
    values["seeds"] = ";".join(_seeds(figure, hit)) or None
    data = "".join(f' data-{key}="{escape(str(value))}"' for key, value in values.items() if value is not None)
    at = f'cx="{x:.1f}" cy="{y:.1f}"'
    circles = f'<circle class="pareto ring{" front" if ring else ""}" {at} r="4.9"/>' if hit.cost is not None else ""
    inner = f'{circles}<circle class="dot" {at} r="8"/><title>{escape(hit.text)}</title>'
    label = f'aria-label="{escape(hit.text)}"'
    if hit.runs:
        return f'<a class="hit{series}" href="#run-{hit.runs[0]}" {label}{data}>{inner}</a>'
    return f'<g class="hit{series}" tabindex="0" role="img" {label}{data}>{inner}</g>'


def _seeds(figure: "Drawing", hit: Hit) -> Iterator[str]:
    """Seed, position, cost and y of every visible single seed, separated by commas."""
    low, high = sorted(hit.axes.get_ylim())
    for seed, x, y, cost in hit.seeds:
        if low <= y <= high:
            across, down = _place(figure, replace(hit, x=x, y=y))
            yield f"{seed},{across:.1f},{down:.1f},{cost:.6g},{y:.6g}"


def _place(figure: "Drawing", hit: Hit) -> tuple[float, float]:
    """The position in points from the upper left corner of the drawing."""
    x, y = hit.axes.transData.transform((hit.x, hit.y)) * 72 / figure.dpi
    return float(x), float(figure.get_figheight() * 72 - y)
