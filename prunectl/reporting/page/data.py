"""The data for the sections of a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from prunectl.reporting.curves import Point, Setting, settings
from prunectl.reporting.findings import Look
from prunectl.reporting.page.best import Network, networks
from prunectl.reporting.page.figures.figure import Style, Styles
from prunectl.reporting.rows import ReportRow, rows
from prunectl.reporting.sources import Source, Sources


@dataclass(frozen=True, eq=False)
class PageData:
    """Everything that a section may read."""

    sources: Sources
    rows: Sequence[ReportRow]
    """One row per checkpoint in `sources.given`."""
    settings: Sequence[Setting]
    styles: Styles
    notices: Sequence[str]
    networks: Sequence[Network]
    """The networks that the page shows from inside, the best trade-off first; none if only results exist."""
    looks: Mapping[Path, Look]
    """The analyses of these networks, by path."""
    number: int = 0
    """The number of the setting, in a section that is repeated for each setting."""

    @property
    def focus(self) -> Source | None:
        """The network that is timed, and whose training is shown step by step."""
        return self.networks[0].source if self.networks else None

    @property
    def look(self) -> Look | None:
        """Its analysis; None if it was not analysed."""
        return None if self.focus is None else self.looks.get(self.focus.path)

    @property
    def setting(self) -> Setting:
        """The setting of a section that is repeated for each setting."""
        return self.settings[self.number]

    @property
    def prefix(self) -> str:
        """The prefix of the ids of that section and of its figures."""
        return f"s{self.number}"

    @property
    def suffix(self) -> str:
        """The end of the titles of that section; empty if there is only one setting."""
        return f": {self.setting.name}" if len(self.settings) > 1 else ""

    @cached_property
    def run_numbers(self) -> dict[str, int]:
        """The row of each checkpoint in the table of all checkpoints."""
        return {row["checkpoint"]: number for number, row in enumerate(self.rows)}

    @cached_property
    def methods(self) -> dict[str, str]:
        """The method of each checkpoint in a curve."""
        return {
            row["checkpoint"]: series.label
            for setting in self.settings
            for series, point in setting.points
            for row in point.rows
        }

    def runs(self, point: Point) -> tuple[int, ...]:
        """The rows of an operating point in the table of all checkpoints."""
        return tuple(self.run_numbers[row["checkpoint"]] for row in point.rows if row["checkpoint"] in self.run_numbers)

    def each_setting(self) -> list["PageData"]:
        """The data for each setting."""
        return [replace(self, number=number) for number in range(len(self.settings))]


def page_data(sources: Sources, focus: Source | None = None, looks: Mapping[Path, Look] | None = None) -> PageData:
    """The data of a page; `looks` are the analyses of networks. `focus` is the best trade-off by default."""
    found, notices = settings(sources)
    labels = dict.fromkeys(series.label for setting in found for series in setting.series)
    return PageData(
        sources=sources,
        rows=rows(sources),
        settings=found,
        styles={label: Style(number) for number, label in enumerate(labels)},
        notices=[*sources.notices, *notices],
        networks=networks(sources, found, focus),
        looks=looks or {},
    )


def shown_networks(sources: Sources, focus: Source | None = None) -> list[Network]:
    """The networks that a page of these sources shows from inside."""
    return networks(sources, settings(sources)[0], focus)
