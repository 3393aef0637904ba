"""Breaks long names in narrow columns after a dot, hyphen, underscore or slash, not within a word."""

import re
from collections.abc import Sequence

_PART = re.compile(r"[^._/-]*[._/-]|[^._/-]+")
_LEAST = 12


def broken(name: str, width: int) -> str:
    """A name on lines of at most this many columns; longer words are cut."""
    lines = [""]
    for part in _PART.findall(name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line[i : i + width] for line in lines for i in range(0, max(len(line), 1), width))


def first_broken(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Rows of a table with first cells broken to the columns that the others leave, with two between each."""
    others = [
        max(len(line) for cell in column for line in cell.split("\n")) for column in zip(head, *rows, strict=True)
    ]
    room = max(width - sum(others[1:]) - 2 * (len(head) - 1), _LEAST)
    return [[broken(row[0], room), *row[1:]] for row in rows]
