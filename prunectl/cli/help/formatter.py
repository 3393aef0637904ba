"""Help texts whose lines break between words, never within a name such as --weight-decay."""

from collections.abc import Sequence
from typing import Any

import typer

_HYPHEN = "\u2011"
"""Replaces a hyphen while lines are broken; the parser's formatter would break there."""
_FORMATTER: Any = typer.Context.formatter_class


class Formatter(_FORMATTER):  # type: ignore[misc]
    """The parser's formatter, which keeps names whole."""

    def write_text(self, text: str) -> None:
        """Write paragraphs."""
        super().write_text(text.replace("-", _HYPHEN))

    def write_dl(self, rows: Sequence[tuple[str, str]], *arguments: Any, **options: Any) -> None:
        """Write names with what they mean."""
        super().write_dl([(name, text.replace("-", _HYPHEN)) for name, text in rows], *arguments, **options)

    def getvalue(self) -> str:
        """The whole text."""
        return str(super().getvalue()).replace(_HYPHEN, "-")


class HelpContext(typer.Context):
    """A context whose help keeps names whole."""

    formatter_class = Formatter
