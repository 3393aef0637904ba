"""Accuracy, and robust accuracy, against what was saved."""

from collections.abc import Sequence
from dataclasses import replace

from prunectl.reporting.curves import Setting
from prunectl.reporting.page.blocks import Section
from prunectl.reporting.page.figures.axes import (
    AXES,
    CLOSE,
    TOP1,
    TOP5,
    corruption_measures,
    robust_measures,
    training_axis,
)
from prunectl.reporting.page.figures.figure import Figure
from prunectl.reporting.page.figures.tradeoff import Styles, trade_off
from prunectl.reporting.page.sections.points import points_table
from prunectl.reporting.sources import Sources

_MOST = 8
"""Most robust curves that are drawn; the table and the CSV have them all."""


def trade_off_section(setting: Setting, styles: Styles, *, prefix: str, suffix: str) -> Section:
    """Top-1 against every saving, top-5 against weights, and the operating points as a table."""
    section = Section(
        f"{prefix}-trade-off",
        f"Trade-off{suffix}",
        "Every line is a method, a point the mean over its seeds, the band one standard deviation. The dashed line is "
        "the dense network. Rings mark the Pareto front: no other point saves more at an accuracy as high.",
        legend=True,
    )
    if not setting.series:
        section.notes.append("No pruned network was measured: run `prunectl eval`, and make the report again.")
        return section
    first, *others = [*AXES, training_axis(setting)]
    wanted = [(first, TOP1), (first, CLOSE), *((axis, TOP1) for axis in others), (first, TOP5)]
    left_out = []
    for axis, measure in wanted:
        figure = trade_off(setting, axis, measure, styles, prefix=prefix)
        if figure is not None:
            section.figures.append(figure)
        elif measure is TOP1:
            left_out.append(axis.label.partition(" (")[0].partition(",")[0])
    if left_out:
        section.notes.append(f"Not drawn, because it was not measured or does not differ: {', '.join(left_out)}.")
    section.tables.append(points_table(setting, prefix=prefix))
    return section


def robust_section(setting: Setting, sources: Sources, styles: Styles, *, prefix: str, suffix: str) -> Section:
    """Robust accuracy under every attack and eps, and accuracy on corrupted images, against weights."""
    section = Section(f"{prefix}-robust", f"Robustness{suffix}", _ROBUST, legend=True)
    measures = robust_measures(setting)
    figures: list[Figure | None] = [
        trade_off(setting, AXES[0], measure, styles, prefix=prefix)
        for measure in [*measures[:_MOST], *corruption_measures(sources)]
    ]
    section.figures = [replace(figure, caption="") for figure in figures if figure is not None]
    if len(measures) > _MOST:
        section.notes.append(f"{len(measures) - _MOST} more pairs of attack and ε are in the table of checkpoints.")
    if not section.figures:
        section.notes.append("No attack was recorded: `prunectl attack CHECKPOINT` measures robust accuracy.")
    return section


_ROBUST = (
    "The share of all test images that are still right under an attack that may change them by ε, in the attack's own "
    "norm, where a pixel goes from 0 to 1. Images that are wrong without an attack count as wrong."
)


def settings_names(settings: Sequence[Setting]) -> list[str]:
    """What stands behind the titles of sections: nothing where there is one setting."""
    return [f": {setting.name}" if len(settings) > 1 else "" for setting in settings]
