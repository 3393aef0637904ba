"""What a page is built of: sections of figures, tables, pictures and sentences."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from prunectl.reporting.formats import table_csv
from prunectl.reporting.page.figures.figure import Figure


@dataclass(frozen=True)
class Cell:
    """What stands in a table, and the number that it is sorted by."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """A table that can be sorted by every column; `numeric` says which are numbers."""

    name: str
    caption: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    search: bool = False

    @property
    def download(self) -> str:
        """A data: link."""
        return data_link(self.columns, [[cell.text for cell in row] for row in self.rows])


@dataclass(frozen=True)
class Picture:
    """A small picture as a link, with its words, and another one that is laid beside it."""

    source: str
    alt: str
    caption: str
    beside: str | None = None


@dataclass
class Section:
    """A part of the page. Blocks are shown in this order; what is missing is told in `notes`."""

    id: str
    title: str
    lead: str = ""
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[tuple[str, list[Picture]]] = field(default_factory=list)
    """Grids of pictures, each under its title."""
    notes: list[str] = field(default_factory=list)
    legend: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show, not even why."""
        return not (self.figures or self.tables or self.pictures or self.notes)


def data_link(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as a link that holds it."""
    return "data:text/csv;charset=utf-8," + quote(table_csv(columns, rows), safe=",./:;=@()-_ ").replace(" ", "%20")


def image_link(png: bytes) -> str:
    """A PNG as a link that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
