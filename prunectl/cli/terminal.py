"""The one way to stdout and stderr: whatever a stranger's file says, it cannot steer the terminal."""

import shutil
import sys
import textwrap
import warnings
from typing import TYPE_CHECKING, Any, TextIO

from prunectl.checkpoints.escapes import visible

if TYPE_CHECKING:
    from rich.console import Console

_NEWLINES = "\n\t"


class Escaping:
    """A stream for text, in which all that is not printable but newlines and tabs is written as its escape.

    A carriage return that begins a text stays: progress bars of other libraries go back to their line so.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text; returns its length, as a file does."""
        back = text.startswith("\r") and not text.startswith("\r\n")
        self.stream.write(("\r" if back else "") + visible(text.removeprefix("\r") if back else text, _NEWLINES))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's own."""
        return getattr(self.stream, name)


def guard() -> None:
    """Let stderr, stdout where that is a terminal, and warnings through escapes alone.

    What is piped stays exact: paths for the next command, JSON, tables.
    """
    if not isinstance(sys.stderr, Escaping):
        sys.stderr = Escaping(sys.stderr)
    if not isinstance(sys.stdout, Escaping) and sys.stdout is not None and sys.stdout.isatty():
        sys.stdout = Escaping(sys.stdout)
    warnings.formatwarning = _one_line


def _one_line(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: Any = None) -> str:
    """A warning without the line of code that raised it."""
    return f"{visible(f'{filename}:{lineno}: {category.__name__}: {message}')}\n"


def raw(stream: TextIO) -> TextIO:
    """The stream without escapes: for texts of prunectl's own."""
    return stream.stream if isinstance(stream, Escaping) else stream


def console(stream: TextIO, width: int | None = None) -> "Console":
    """A console of rich for tables and bars, whose texts are escaped and mean no markup."""
    from rich.console import Console
    from rich.text import Text

    class Plain(Console):
        """Texts as they are."""

        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(visible(text, _NEWLINES), **{**options, "markup": False, "emoji": False})

    return Plain(file=raw(stream), width=width, markup=False, highlight=False, emoji=False)


def wrapped(text: str) -> str:
    """A line for stderr; on a terminal broken at spaces, where the terminal would break it within a word."""
    if not sys.stderr.isatty():
        return text
    width, indent = shutil.get_terminal_size().columns, len(text) - len(text.lstrip())
    if len(text) <= width:
        return text
    return textwrap.fill(
        text.lstrip(),
        max(width, 20),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
