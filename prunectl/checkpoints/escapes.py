"""Makes texts from strangers' files safe to show in a terminal, a spreadsheet or Markdown."""

import re

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN = re.compile(r"([\\`*_\[\]()!|~])|([&<>])|(://)|(\bwww\.)", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def visible(text: str, keep: str = "\t") -> str:
    """The text in one line, with an escape for every character that steers a terminal or is invisible.

    These are control characters (ESC, C1, newlines), direction marks, zero-width characters and unusual spaces: all
    that Unicode calls not printable, except those in `keep`.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def csv_cell(value: object) -> object:
    """The value; a text that a spreadsheet would run as a formula gets a quote in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def markdown(text: str) -> str:
    """The text escaped for Markdown: it makes no HTML, link, emphasis or end of a cell."""
    return visible(_MARKDOWN.sub(_escaped, text), "")


def _escaped(found: re.Match[str]) -> str:
    sign, html, scheme, _ = found.groups()
    if sign:
        return f"\\{sign}"
    if html:
        return _ENTITIES[html]
    return "&#58;//" if scheme else f"{found[0][:-1]}&#46;"
