"""Accuracy against what pruning saved."""

from prunectl.reporting.page.blocks import Section
from prunectl.reporting.page.data import PageData
from prunectl.reporting.page.figures.axes import AXES, CLOSE, TOP1, TOP5, training_axis
from prunectl.reporting.page.figures.tradeoff import trade_off
from prunectl.reporting.page.operating_points import points_table

_LEAD = (
    "Each line is a method, each point the mean over its seeds, the band one standard deviation. The dashed line is "
    "the dense network. Circled points form the Pareto front: no other point is at least as good on both axes."
)


def trade_off_section(data: PageData) -> Section:
    """Top-1 accuracy against every saving, top-5 against weights, and the operating points as a table."""
    section = Section(f"Trade-off{data.suffix}", _LEAD, legend=True, front=True)
    if not data.setting.series:
        section.notes.append("No pruned network was measured. Run `prunectl eval` on it, then `prunectl report`.")
        return section
    first, *others = [*AXES, training_axis(data.setting)]
    wanted = [(first, TOP1), (first, CLOSE), *((axis, TOP1) for axis in others), (first, TOP5)]
    left_out = []
    for axis, measure in wanted:
        figure = trade_off(data.setting, axis, measure, data.styles, prefix=data.prefix)
        if figure is not None:
            section.figures.append(figure)
        elif measure is TOP1:
            left_out.append(axis.label.partition(" (")[0].partition(",")[0])
    if left_out:
        section.notes.append(f"Not drawn, because not measured or equal for all networks: {', '.join(left_out)}.")
    section.tables.append(points_table(data.setting, prefix=data.prefix))
    return section
