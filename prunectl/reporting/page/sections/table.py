"""The sections of the page."""

from collections.abc import Callable
from dataclasses import dataclass

from prunectl.reporting.page.blocks import Section
from prunectl.reporting.page.data import PageData
from prunectl.reporting.page.sections.checkpoints import checkpoints_section
from prunectl.reporting.page.sections.inside import inside_section
from prunectl.reporting.page.sections.layers import layers_section
from prunectl.reporting.page.sections.overview import overview_section
from prunectl.reporting.page.sections.provenance import provenance_section
from prunectl.reporting.page.sections.robust import robust_section
from prunectl.reporting.page.sections.speed import speed_section
from prunectl.reporting.page.sections.trade_off import trade_off_section
from prunectl.reporting.page.sections.training import training_section


@dataclass(frozen=True)
class Entry:
    """A section's anchor in the page and the function that builds it; None leaves it out.

    `per_setting` repeats it for each setting, with the setting's prefix before the anchor.
    """

    anchor: str
    build: Callable[[PageData], Section | None]
    per_setting: bool = False


SECTIONS = (
    Entry("overview", overview_section),
    Entry("trade-off", trade_off_section, per_setting=True),
    Entry("robust", robust_section),
    Entry("training", training_section),
    Entry("inside", inside_section),
    Entry("layers", layers_section, per_setting=True),
    Entry("speed", speed_section),
    Entry("checkpoints", checkpoints_section),
    Entry("provenance", provenance_section),
)
"""The sections, in the order of the page."""
