"""Texts from files of strangers, made safe for where they are shown: a terminal, a table program, Markdown."""

import re

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN = re.compile(r"([\\`*_\[\]()!|~])|([&<>])|(://)|(\bwww\.)", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def visible(text: str, keep: str = "\t") -> str:
    """Every character that steers a terminal or cannot be seen as its escape, in one line.

    These are control characters (ESC, C1, newlines), marks of direction, of width zero and unusual spaces: all that
    Unicode calls not printable, but those in `keep`.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def csv_cell(value: object) -> object:
    """A text; with a quote before it if a spreadsheet would run it as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def markdown(text: str) -> str:
    """A text escaped for Markdown: no HTML, no link, no emphasis, no end of a cell."""
    return visible(_MARKDOWN.sub(_escaped, text), "")


def _escaped(found: re.Match[str]) -> str:
    sign, html, scheme, _ = found.groups()
    if sign:
        return f"\\{sign}"
    if html:
        return _ENTITIES[html]
    return "&#58;//" if scheme else f"{found[0][:-1]}&#46;"
