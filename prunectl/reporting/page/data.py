"""What the sections of a page read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prunectl.reporting.curves import Setting, settings
from prunectl.reporting.findings import Look
from prunectl.reporting.page.figures.figure import Style, Styles
from prunectl.reporting.rows import ReportRow, rows
from prunectl.reporting.sources import Source, Sources


@dataclass(frozen=True, eq=False)
class PageData:
    """Everything that a section may read."""

    sources: Sources
    rows: Sequence[ReportRow]
    """One for each checkpoint in `sources.given`."""
    settings: Sequence[Setting]
    styles: Styles
    notices: Sequence[str]
    focus: Source | None
    """The network that the page looks into, None where only results are left."""
    look: Look | None
    """What was found inside it, None where nobody looked."""
    number: int = 0
    """Which of the settings is shown, in a section that is repeated for each of them."""

    @property
    def setting(self) -> Setting:
        """The setting of a section that is repeated for each of them."""
        return self.settings[self.number]

    @property
    def prefix(self) -> str:
        """Begins the ids of that section and of its figures."""
        return f"s{self.number}"

    @property
    def suffix(self) -> str:
        """Ends the titles of that section: nothing where there is only one setting."""
        return f": {self.setting.name}" if len(self.settings) > 1 else ""

    def each_setting(self) -> list["PageData"]:
        """One for each setting."""
        return [replace(self, number=number) for number in range(len(self.settings))]


def page_data(sources: Sources, focus: Source | None = None, look: Look | None = None) -> PageData:
    """The data of a page; `look` is what was found inside `focus`, which is that of `focus_of` by default."""
    found, notices = settings(sources)
    labels = dict.fromkeys(series.label for setting in found for series in setting.series)
    return PageData(
        sources=sources,
        rows=rows(sources),
        settings=found,
        styles={label: Style(number) for number, label in enumerate(labels)},
        notices=[*sources.notices, *notices],
        focus=focus or focus_of(sources),
        look=look,
    )


def focus_of(sources: Sources) -> Source | None:
    """The network that the page looks into: the last one that was measured, else the last one."""
    there = [source for source in sources.given if source.seen is not None]
    measured = [source for source in there if source.measured]
    return next(reversed(measured or there), None)
