"""Shows Markdown on a terminal: headings at the left margin, tables whose words are broken but never cut off."""

import io
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from rich.console import Console
from rich.markdown import Heading, Markdown, TableElement

_CODE = re.compile(r"^```.*?^```$|(?P<code>`(?:[^`\n]|\n(?!\n))+`)", re.MULTILINE | re.DOTALL)
"""A code block, or inline code, which may continue on the next line but not in the next paragraph."""
_BLANK_LINES = re.compile(r"\n[ \n]*\n[ \n]*\n")


class _LeftHeading(Heading):
    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        self.text.justify = "left"
        self.text.stylize("bold underline" if self.tag in ("h1", "h2") else "bold")
        if self.tag != "h1":
            yield ""
        yield self.text


class _WholeTable(TableElement):
    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        for table in super().__rich_console__(console, options):
            for column in getattr(table, "columns", ()):
                column.overflow = "fold"
            yield table


class _Page(Markdown):
    elements: ClassVar = {**Markdown.elements, "heading_open": _LeftHeading, "table_open": _WholeTable}


def _with_backticks(found: re.Match[str]) -> str:
    """Inline code, marked so that its backticks are shown; blocks are unchanged."""
    return f"`` {' '.join(found[0].split())} ``" if found["code"] else found[0]


def laid_out(text: str, width: int, *, colours: bool) -> str:
    """Lay out Markdown in `width` columns for printing; without `colours`, inline code keeps its backticks."""
    if not colours:
        text = _CODE.sub(_with_backticks, text)
    shown = io.StringIO()
    console = Console(file=shown, width=width, force_terminal=colours, color_system="standard" if colours else None)
    console.print(_Page(text, code_theme="ansi_dark", hyperlinks=False))
    text = _BLANK_LINES.sub("\n\n", shown.getvalue().rstrip())
    return text if colours else "\n".join(map(str.rstrip, text.split("\n")))
