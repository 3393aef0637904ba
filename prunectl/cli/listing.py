"""Prints lists of plug-ins and details of one, for 80 columns."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prunectl.cli import output
from prunectl.plugins.option_uses import OPTIONS

if TYPE_CHECKING:
    from prunectl.plugins.facts import Facts

WIDTH, _NARROW = 80, 30


def width() -> int:
    """The columns of a terminal, else 80."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH


def show_list(rows: Sequence[Mapping[str, str]], text: str) -> None:
    """Print rows as a table whose last column is `text`.

    On a terminal the text is wrapped beside the others, or below them if there is little room; else a row is a line.
    """
    heads = [key for key in rows[0] if key != text]
    table = [{key: key for key in rows[0]}, *rows]
    widths = {key: max(len(row[key]) for row in table) for key in heads}
    indent = sum(widths.values()) + 2 * len(widths)
    for row in table:
        start = "  ".join(row[key].ljust(size) for key, size in widths.items()) + "  "
        if not sys.stdout.isatty():
            output.emit(f"{start}{row[text]}".rstrip())
            continue
        below = width() - indent < _NARROW
        lines = wrapped(row[text], width() - (4 if below else indent))
        first, *rest = ["", *lines] if below else lines or [""]
        output.emit(f"{start}{first}".rstrip())
        for line in rest:
            output.emit(f"{'':{4 if below else indent}}{line}")


def show_facts(name: str, values: Mapping[str, str | Sequence[str]]) -> None:
    """Print the details of one plug-in: a word, then its text or lines."""
    output.emit(name)
    size = max(map(len, values)) + 2
    for key, text in values.items():
        parts, indent = ([text], "") if isinstance(text, str) else (text, "  ")
        lines = [line for part in parts for line in wrapped(part, width() - size - 2, indent=indent)]
        for i, line in enumerate(lines):
            output.emit(f"  {'' if i else key:{size}}{line}")


def options_of(kind: str, facts: "Facts") -> list[str]:
    """The options of a plug-in with their defaults and meanings; "none" without any."""
    flag = "-M" if kind == "model" else "-O"
    meaning = {key: f": {OPTIONS[kind][key]}" if key in OPTIONS[kind] else "" for key in facts.options}
    return [f"{flag} {key}={_shown(value)}{meaning[key]}" for key, value in facts.options.items()] or ["none"]


def as_json(record: Any) -> None:
    """Print a record as JSON."""
    output.emit(json.dumps(record))


def wrapped(text: str, size: int, *, indent: str = "") -> list[str]:
    """Lines of whole words, including names with hyphens; all but the first are indented."""
    size = max(size, 20)
    return textwrap.wrap(text, size, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def joined(names: Iterable[str]) -> str:
    """Names separated by commas."""
    return ", ".join(names)


def _shown(value: Any) -> str:
    from prunectl.plugins.source_code import REQUIRED

    return "VALUE" if value == REQUIRED else "VALUE" if value is None else str(value)
