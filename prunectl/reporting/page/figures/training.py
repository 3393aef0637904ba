"""Training curves: of one network with its ancestors, and of all runs together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prunectl.reporting.curves import Setting
from prunectl.reporting.page.figures.figure import INK, SERIES, Figure, Styles, drawing, escape_math, to_svg
from prunectl.reporting.sources import Source, Sources

LogRecord = dict[str, Any]


@dataclass(frozen=True)
class Course:
    """The logs of the trainings that led to a network, in sequence, with `total_step` and `total_flops`."""

    records: tuple[LogRecord, ...]
    events: tuple[tuple[int, int, str], ...]
    """Prunings: (step, FLOPs, criterion)."""


@dataclass(frozen=True)
class _Line:
    """One line of a panel."""

    label: str
    key: str
    style: dict[str, Any]


@dataclass(frozen=True)
class _Panel:
    name: str
    title: str
    unit: str
    lines: tuple[_Line, ...]
    x: str = "total_step"
    scale: float = 1.0
    zero: bool = False
    """Whether the axis starts at 0."""
    caption: str = ""


_TRAIN = {"color": SERIES[0], "linestyle": "-"}
_TEST = {"color": SERIES[1], "linestyle": "--", "marker": "o", "markersize": 4}
_LOSS = (_Line("training", "loss", _TRAIN), _Line("evaluation", "eval_loss", _TEST))
_ACCURACY = (_Line("training", "accuracy", _TRAIN), _Line("evaluation", "eval_accuracy", _TEST))
_PANELS = (
    _Panel("loss-steps", "Loss over steps", "loss", _LOSS),
    _Panel("accuracy-steps", "Accuracy over steps", "accuracy (%)", _ACCURACY, scale=100),
    _Panel("loss-flops", "Loss over cumulative FLOPs", "loss", _LOSS, x="total_flops"),
    _Panel("accuracy-flops", "Accuracy over cumulative FLOPs", "accuracy (%)", _ACCURACY, x="total_flops", scale=100),
    _Panel(
        "sparsity",
        "Sparsity over steps",
        "sparsity (%)",
        (
            _Line("weights", "weight_sparsity", {"color": SERIES[2], "linestyle": "-"}),
            _Line("nodes", "node_sparsity", {"color": SERIES[3], "linestyle": "--"}),
        ),
        scale=100,
        zero=True,
    ),
    _Panel("lr", "Learning rate", "learning rate", (_Line("learning rate", "lr", {"color": SERIES[4]}),), zero=True),
    _Panel(
        "throughput",
        "Throughput",
        "images per second",
        (_Line("images per second", "rate", {"color": SERIES[5]}),),
        zero=True,
        caption="Images divided by the time since the last record, which includes evaluation at the end of an epoch.",
    ),
    _Panel(
        "memory",
        "Peak memory",
        "memory (MB)",
        (_Line("memory", "memory_bytes", {"color": SERIES[6]}),),
        scale=1e-6,
        zero=True,
        caption="The peak since the program started: allocated memory on a GPU, resident memory on a CPU.",
    ),
)


def course(source: Source, lineage: Sequence[Source]) -> Course:
    """Join the logs of a network and its ancestors."""
    records: list[LogRecord] = []
    events: list[tuple[int, int, str]] = []
    step = flops = 0
    for one in (*lineage, source):
        last = one.history[-1] if one.history else None
        if last is not None and last.command == "prune":
            events.append((step, flops, str(last.options.get("criterion"))))
        if last is not None and last.command != "train":
            continue
        before = 0.0
        for record in one.log:
            taken = record.get("seconds", 0) - before
            before = record.get("seconds", 0)
            now = {
                **record,
                "total_step": step + record.get("step", 0),
                "total_flops": flops + record.get("training_flops", 0),
                "rate": record["images"] / taken if taken > 0 and "images" in record else None,
            }
            records.append(now)
            if "pruned" in record:
                criterion = "pruned" if last is None else last.options.get("criterion", "pruned")
                events.append((now["total_step"], now["total_flops"], str(criterion)))
        if one.log:
            step, flops = records[-1]["total_step"], records[-1]["total_flops"]
    return Course(tuple(records), tuple(events))


def panels(found: Course, *, prefix: str) -> tuple[list[Figure], list[str]]:
    """The figures of one course, and texts on constant lines.

    Constant lines, and panels with no others, are left out; so are panels over FLOPs if FLOPs grow with the steps.
    """
    made, constant = [], []
    same = bool(found.records) and _proportional(found.records)
    for panel in _PANELS:
        if same and panel.x == "total_flops":
            continue
        lines = [(line, points) for line in panel.lines if (points := _points(found.records, panel, line.key))]
        varied = [(line, points) for line, points in lines if _varies(points, panel)]
        if varied:
            made.append(_panel(found, panel, varied, f"{prefix}-{panel.name}"))
        if panel.x == "total_step":
            constant += [_constant(panel, line, points[0][1]) for line, points in lines if not _varies(points, panel)]
    return made, constant


def _constant(panel: _Panel, line: _Line, value: float) -> str:
    """The text for a constant curve."""
    what = panel.title.partition(" over")[0].lower()
    of = f" of {line.label}" if len(panel.lines) > 1 else ""
    return f"{what}{of} {value:.4g}{' %' if '(%)' in panel.unit else ' MB' if '(MB)' in panel.unit else ''}"


def _varies(points: Sequence[tuple[float, float]], panel: _Panel) -> bool:
    """Whether a curve is worth drawing: its values differ by more than 1 %, or 5 % on an axis from 0."""
    values = [y for _, y in points]
    return max(values) - min(values) > max(map(abs, values)) / (20 if panel.zero else 100)


def _proportional(records: Sequence[LogRecord]) -> bool:
    """Whether FLOPs grow evenly with the steps, so that curves over both look the same."""
    last = records[-1]
    if not last["total_flops"]:
        return True
    shares = ((r["total_step"] / last["total_step"], r["total_flops"] / last["total_flops"]) for r in records)
    return all(abs(step - flops) < 0.01 for step, flops in shares)


def _panel(found: Course, panel: _Panel, lines: Sequence[tuple[_Line, list[tuple[float, float]]]], name: str) -> Figure:
    steps = panel.x == "total_step"
    unit, factor = ("step", 1.0) if steps else _flops_unit(max(x for _, points in lines for x, _ in points))
    events = [((step if steps else flops) * factor, what) for step, flops, what in found.events]
    alt = f"Line chart: {panel.title}. " + " ".join(
        f"{line.label}: from {points[0][1]:.4g} to {points[-1][1]:.4g}." for line, points in lines
    )
    with drawing() as (figure, axes):
        for line, points in lines:
            xs, ys = zip(*points, strict=True)
            axes.plot([x * factor for x in xs], ys, label=line.label, **line.style)
        for at, _ in events:
            axes.axvline(at, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), alpha=0.6)
        if events:
            at, what = events[0]
            axes.annotate(
                f" {escape_math(what)}" if len(events) == 1 else f" {len(events)} prunings",
                (at, 1.0),
                xycoords=("data", "axes fraction"),
                va="bottom",
                fontsize=8,
            )
        axes.set_xlabel(unit)
        axes.set_ylabel(panel.unit)
        if panel.zero:
            most = max(y for _, points in lines for _, y in points)
            axes.set_ylim(0, 1.1 * most if most > 0 else 1)
        if len(lines) > 1:
            axes.legend()
        svg = to_svg(figure, name, alt)
    numbers = tuple((line.label, x, y) for line, points in lines for x, y in points)
    return Figure(name, panel.title, panel.caption, alt, svg, ("line", panel.x, panel.unit), numbers)


def _points(records: Sequence[LogRecord], panel: _Panel, key: str) -> list[tuple[float, float]]:
    return [(r[panel.x], r[key] * panel.scale) for r in records if isinstance(r.get(key), int | float)]


def _flops_unit(most: float) -> tuple[str, float]:
    for unit, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if most >= size:
            return f"cumulative training FLOPs ({unit})", 1 / size
    return "cumulative training FLOPs", 1.0


def all_courses(setting: Setting, sources: Sources, styles: Styles, *, prefix: str, suffix: str = "") -> Figure | None:
    """The evaluation accuracy of every run over cumulative FLOPs, in the colours of the methods."""
    by_path = sources.every
    runs: list[tuple[str, int | None, dict[str, Any], list[tuple[float, float]]]] = []

    def add(label: str, rows: Sequence[Mapping[str, Any]], number: int | None, style: dict[str, Any]) -> None:
        for row in rows:
            source = by_path[row["checkpoint"]]
            records = course(source, sources.lineage.get(source.path, ())).records
            points = [(r["total_flops"], 100 * r["eval_accuracy"]) for r in records if "eval_accuracy" in r]
            if points:
                runs.append((label, number, style, points))

    if setting.dense is not None:
        add("dense", setting.dense.rows, None, {"color": INK, "linestyle": "-"})
    for series, point in setting.points:
        drawn = styles[series.label]
        add(series.label, point.rows, drawn.number, {"color": drawn.colour, "linestyle": drawn.dash})
    if not runs:
        return None
    unit, factor = _flops_unit(max(x for *_, points in runs for x, _ in points))
    alt = f"Line chart: evaluation accuracy over cumulative training FLOPs of {len(runs)} runs."
    name = f"{prefix}-courses"
    with drawing() as (figure, axes):
        for i, (_, number, style, points) in enumerate(runs):
            xs, ys = zip(*points, strict=True)
            gid = f"series-{number}-run{i}" if number is not None else f"dense-run{i}"
            thin = 1.3 if number is None else 0.8
            axes.plot([x * factor for x in xs], ys, **style, linewidth=thin, alpha=0.65, gid=gid)
        axes.set_xlabel(unit)
        axes.set_ylabel("evaluation accuracy (%)")
        svg = to_svg(figure, name, alt)
    numbers = tuple((label, i, x, y) for i, (label, _, _, points) in enumerate(runs) for x, y in points)
    caption = "One line per run, one value per epoch, including trainings before pruning."
    title = f"Evaluation accuracy over cumulative FLOPs, all runs{suffix}"
    return Figure(name, title, caption, alt, svg, ("method", "run", "total_flops", "evaluation accuracy %"), numbers)
