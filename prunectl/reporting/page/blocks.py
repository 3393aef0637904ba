"""The blocks of a page: sections with figures, pictures, tables and notes."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from prunectl.reporting.formats import table_csv
from prunectl.reporting.page.checklist import Check
from prunectl.reporting.page.figures.figure import Figure
from prunectl.reporting.page.headline import Answer
from prunectl.reporting.page.provenance import CommandStep


@dataclass(frozen=True)
class Cell:
    """The text of a table cell, its number for sorting, and the anchor that it links to."""

    text: str
    value: float | None = None
    link: str | None = None


@dataclass(frozen=True)
class Table:
    """A table that can be sorted by every column; `numeric` says which columns hold numbers.

    The rows can be filtered by the values of the columns `filters`, and with `search` by words. `row_ids`, if not
    empty, begins the anchor of each row, which ends in its number.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    search: bool = False
    filters: tuple[str, ...] = ()
    row_ids: str = ""

    @property
    def filter_columns(self) -> str:
        """The numbers of the filter columns, from 0, separated by spaces."""
        return " ".join(str(self.columns.index(name)) for name in self.filters)

    @property
    def download(self) -> str:
        """The table as CSV in a data: link."""
        return data_link(self.columns, [[cell.text for cell in row] for row in self.rows])


@dataclass(frozen=True)
class Picture:
    """A small picture as a data: link, with an optional second one beside it."""

    source: str
    alt: str
    caption: str
    beside: str | None = None


@dataclass(frozen=True)
class Summary:
    """The answer and the checklist of one setting, with its name if there are several."""

    heading: str
    answer: Answer | None
    run: int | None
    """The row of the answer's checkpoint in the table of all checkpoints."""
    checks: Sequence[Check]


@dataclass
class Section:
    """A part of the page, with its blocks in this order; `notes` name missing ones.

    A section with nothing but notes is folded into a line at the end of the page.
    """

    title: str
    lead: str = ""
    summaries: list[Summary] = field(default_factory=list)
    choice: list[tuple[str, Figure]] = field(default_factory=list)
    """Figures shown one at a time, each with its name in the choice."""
    aside: Table | None = None
    """A small table beside them."""
    panels: list["Section"] = field(default_factory=list)
    """Parts shown one at a time, chosen by title."""
    panel_label: str = "Network"
    """The label of that choice."""
    folded: str = ""
    """If set, the blocks are folded under this line."""
    figures: list[Figure] = field(default_factory=list)
    pictures: list[tuple[str, list[Picture]]] = field(default_factory=list)
    """Grids of pictures, each with its title."""
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    steps: list[CommandStep] = field(default_factory=list)
    """The roots of a tree of commands."""
    legend: bool = False
    """Whether a legend above the figures shows and hides methods."""
    front: bool = False
    """Whether the legend also has the Pareto front."""

    @property
    def empty(self) -> bool:
        """Whether there are only notes."""
        blocks = (self.summaries, self.choice, self.panels, self.figures, self.pictures, self.tables, self.steps)
        return bool(self.notes) and not any(blocks)


def data_link(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as CSV in a data: link."""
    return "data:text/csv;charset=utf-8," + quote(table_csv(columns, rows), safe=",./:;=@()-_ ").replace(" ", "%20")


def image_link(png: bytes) -> str:
    """A PNG in a data: link."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
