"""The headline numbers, and whether the comparison is fair."""

from prunectl.reporting.page.blocks import Section, Summary
from prunectl.reporting.page.checklist import checklist
from prunectl.reporting.page.data import PageData
from prunectl.reporting.page.headline import headline


def overview_section(data: PageData) -> Section:
    """The largest savings and the checklist of each setting."""
    several = len(data.settings) > 1
    section = Section("Overview")
    section.summaries = [
        Summary(setting.name if several else "", headline(setting), checklist(setting)) for setting in data.settings
    ]
    if not data.settings:
        section.notes.append("No network was measured. Run `prunectl eval` on the checkpoints, then `prunectl report`.")
    return section
