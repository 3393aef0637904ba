"""Robust accuracy against weights."""

from dataclasses import replace

from prunectl.reporting.page.blocks import Section
from prunectl.reporting.page.data import PageData
from prunectl.reporting.page.figures.axes import AXES, corruption_measures, robust_measures
from prunectl.reporting.page.figures.tradeoff import trade_off

_MOST = 8
"""Most attacks and ε that are drawn; the table of checkpoints has all of them."""
_LEAD = (
    "The share of all test images that are still classified correctly under an attack. ε is the largest change that "
    "the attack may make to an image, in the attack's norm, with pixels from 0 to 1. Images that are misclassified "
    "without an attack count as wrong."
)


def robust_section(data: PageData) -> Section:
    """Robust accuracy for every attack and ε, and accuracy on corrupted images, against weights."""
    section = Section(f"Robustness{data.suffix}", _LEAD, legend=True, front=True)
    measures = robust_measures(data.setting)
    figures = [
        trade_off(data.setting, AXES[0], measure, data.styles, prefix=data.prefix)
        for measure in [*measures[:_MOST], *corruption_measures(data.sources)]
    ]
    section.figures = [replace(figure, caption="") for figure in figures if figure is not None]
    if len(measures) > _MOST:
        section.notes.append(
            f"{len(measures) - _MOST} more combinations of attack and ε are in the table of all checkpoints."
        )
    if not section.figures:
        section.notes.append("No attack was recorded. Run `prunectl attack CHECKPOINT` to measure robust accuracy.")
    return section
