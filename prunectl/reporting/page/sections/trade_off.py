"""Accuracy over savings."""

from prunectl.reporting.curves import Setting
from prunectl.reporting.formats import share_text, target_text, times
from prunectl.reporting.page.best import front
from prunectl.reporting.page.blocks import Cell, Section, Table
from prunectl.reporting.page.data import PageData
from prunectl.reporting.page.figures.axes import AXES, CLOSE, TOP1, TOP5, training_axis
from prunectl.reporting.page.figures.tradeoff import trade_off
from prunectl.reporting.page.operating_points import points_table

_LEAD = (
    "Each line is a method, each point the mean over its seeds, each band one standard deviation. The dashed line is "
    "the dense network. Circled points form the Pareto front: no other point shown is at least as good on both axes. "
    "Click a point to see its runs. The filters show a single method, target or seed."
)


def trade_off_section(data: PageData) -> Section:
    """Top-1 accuracy over a chosen saving, the Pareto front, and the table of operating points."""
    section = Section(f"Trade-off{data.suffix}", _LEAD, legend=True, front=True)
    if not data.setting.series:
        section.notes.append("No pruned network was measured. Run `prunectl eval` on it, then `prunectl report`.")
        return section
    if len(data.setting.points) == 1:  # a chart with one point shows nothing
        return Section(
            f"Trade-off{data.suffix}", tables=[points_table(data.setting, prefix=data.prefix, runs=data.runs)]
        )
    first, *others = [*AXES, training_axis(data.setting)]
    wanted = [(first, TOP1), (first, CLOSE), *((axis, TOP1) for axis in others), (first, TOP5)]
    left_out = []
    for axis, measure in wanted:
        figure = trade_off(data.setting, axis, measure, data.styles, prefix=data.prefix, runs=data.runs)
        if figure is not None:
            section.choice.append((axis.choice if measure is TOP1 else _CHOICES[measure.name], figure))
        elif measure is TOP1:
            left_out.append(axis.choice)
    wanted_first = _AXES_OF.get(_budget(data.setting))
    section.choice.sort(key=lambda named: named[0] != wanted_first)
    if left_out:
        section.notes.append(f"Not drawn, because not measured or equal for all networks: {', '.join(left_out)}.")
    section.aside = _front_table(data)
    section.tables.append(points_table(data.setting, prefix=data.prefix, runs=data.runs))
    return section


def _budget(setting: Setting) -> str:
    """The budget to which all operating points were pruned; empty if there is none or several."""
    kinds = {target_text(point.target).partition(" ")[0] for _, point in setting.points}
    return kinds.pop() if len(kinds) == 1 else ""


_AXES_OF = {"flops": "FLOPs", "size": "size", "latency": "time"}
"""The choice shown first, by budget."""
_CHOICES = {CLOSE.name: "weights, close to dense", TOP5.name: "weights, top-5"}


def _front_table(data: PageData) -> Table:
    """The Pareto front of accuracy and fewer weights."""
    dense = data.setting.dense.stat("accuracy") if data.setting.dense else None
    rows = []
    for series, point in front(data.setting):
        accuracy, saved = point.stat("accuracy"), point.stat("compression")
        assert accuracy is not None and saved is not None  # else it would not be on the front
        drop = None if dense is None else 100 * (accuracy.mean - dense.mean)
        runs = data.runs(point)
        name = " ".join(filter(None, [series.label, target_text(point.target)]))
        rows.append(
            (
                Cell(name, link=f"run-{runs[0]}" if runs else None),
                Cell(times(saved.mean), saved.mean),
                Cell(share_text(accuracy), accuracy.mean),
                Cell("-" if drop is None else f"{drop:+.2f}", drop),
            )
        )
    columns = ("Pareto front", "fewer weights", "top-1 %", "to dense")
    return Table(
        f"{data.prefix}-front", "Pareto front: accuracy, weights", columns, (False, True, True, True), tuple(rows)
    )
