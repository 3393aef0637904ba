"""The answer, and the checklist for a fair comparison."""

from prunectl.reporting.page.blocks import Section, Summary
from prunectl.reporting.page.checklist import checklist
from prunectl.reporting.page.data import PageData
from prunectl.reporting.page.headline import answer
from prunectl.reporting.sources import unmeasured_text


def overview_section(data: PageData) -> Section:
    """The best trade-off and the checklist of each setting."""
    several = len(data.settings) > 1
    section = Section("Overview")
    speeds = {str(path): look.speed for path, look in data.looks.items() if look.speed is not None}
    for setting in data.settings:
        found = answer(setting, data.sources.every, speeds)
        run = None if found is None or found.path is None else data.run_numbers.get(found.path)
        section.summaries.append(Summary(setting.name if several else "", found, run, checklist(setting)))
    waiting = unmeasured_text(data.sources)
    if waiting is not None:
        section.lead = f"No accuracy yet: {waiting}. Run `prunectl eval` on them, then `prunectl report`."
    elif not data.settings:
        section.lead = (
            "No trained network was measured. Run `prunectl eval` on the checkpoints, then `prunectl report`."
        )
    return section
