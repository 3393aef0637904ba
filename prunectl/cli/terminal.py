"""The only way to stdout and stderr: texts from strangers' files cannot steer the terminal."""

import shutil
import sys
import textwrap
import warnings
from typing import TYPE_CHECKING, Any, TextIO

from prunectl.checkpoints.escapes import visible
from prunectl.errors import ChangedCode

if TYPE_CHECKING:
    from rich.console import Console

_NEWLINES = "\n\t"


class Escaping:
    """A text stream that writes unprintable characters as escapes, except newlines and tabs.

    A carriage return at the start of a text stays: progress bars of other libraries use it to return to their line.
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
    """Escape stderr, warnings, and stdout if it is a terminal.

    Piped output stays exact: paths for the next command, JSON, tables.
    """
    if not isinstance(sys.stderr, Escaping):
        sys.stderr = Escaping(sys.stderr)
    if not isinstance(sys.stdout, Escaping) and sys.stdout is not None and sys.stdout.isatty():
        sys.stdout = Escaping(sys.stdout)
    warnings.formatwarning = _one_line


def _one_line(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: Any = None) -> str:
    """A warning without the line of code that raised it; one of prunectl's own without its place."""
    if issubclass(category, ChangedCode):
        return f"{wrapped(visible(f'warning: {message}'))}\n"
    return f"{visible(f'{filename}:{lineno}: {category.__name__}: {message}')}\n"


def raw(stream: TextIO) -> TextIO:
    """The stream without escapes: for texts of prunectl's own."""
    return stream.stream if isinstance(stream, Escaping) else stream


def console(stream: TextIO, width: int | None = None) -> "Console":
    """A rich console for tables and bars, with escaped texts and without markup."""
    from rich.console import Console
    from rich.text import Text

    class Plain(Console):
        """A console without markup."""

        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(visible(text, _NEWLINES), **{**options, "markup": False, "emoji": False})

    return Plain(file=raw(stream), width=width, markup=False, highlight=False, emoji=False)


def wrapped(text: str) -> str:
    """A line for stderr; on a terminal it is broken at spaces, since the terminal would break words."""
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
