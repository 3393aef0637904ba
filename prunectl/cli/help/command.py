"""A command whose help has groups and examples, and that knows what a wrong option may have meant."""

import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import typer

from prunectl.cli.help.examples import EXAMPLES
from prunectl.cli.help.formatter import HelpContext
from prunectl.cli.help.groups import in_groups
from prunectl.cli.help.wrong_options import meant, separate_numbers
from prunectl.cli.optional_value import WithOptionalValues

USAGE: type[Exception] = typer.BadParameter.__bases__[0]
"""The parser's error, which Typer does not export."""
_METAVARS = {"<int range>": "N", "<int>": "N", "<float range>": "X", "<float>": "X", "<path>": "PATH", "<str>": "NAME"}
_RANGES = (
    (re.compile(r"; (0<=x<=4294967295|x>=[01](\.0)?)(?=\])"), ""),
    (re.compile(r"  \[x>=[01](\.0)?\]"), ""),
    (re.compile(r"x>=(\S+?)(?=[];])"), r"\1 or more"),
    (re.compile(r"(\S+?)<=x<=(\S+?)(?=[];])"), r"\1 to \2"),
)
"""Ranges in words; that a count is not negative goes without saying."""
_VALUES = (
    (re.compile(r"Input should be a valid integer\b.*"), "expected a whole number"),
    (re.compile(r"Input should be a valid number\b.*"), "expected a number"),
    (re.compile(r"Input should be greater than or equal to (\S+)"), r"expected \1 or more"),
    (re.compile(r"Input should be less than or equal to (\S+)"), r"expected \1 or less"),
)
"""What the parser says of values, in the words of our own messages."""


class Command(WithOptionalValues):
    """A command with its options in groups, its examples at the end, and suggestions for wrong options."""

    context_class = HelpContext

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; an unknown option names the one that was meant."""
        try:
            return super().parse_args(ctx, args)
        except USAGE as error:
            wrong = getattr(error, "option_name", None)
            if wrong is not None and hasattr(error, "possibilities"):
                others = getattr(ctx.parent.command, "commands", {}) if ctx.parent is not None else {}
                error.message = f"No such option: {wrong}. {meant(wrong, self, others)}".strip()  # type: ignore[attr-defined]
                error.possibilities = None
            elif (numbers := separate_numbers(args)) is not None and "extra argument" in str(error.message):  # type: ignore[attr-defined]
                error.message = f"{numbers[0]} takes numbers with commas; write {' '.join(numbers)}"  # type: ignore[attr-defined]
            for pattern, words in _VALUES:
                vars(error)["message"] = pattern.sub(words, str(vars(error)["message"]))
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line, without braces around what is required and with one ellipsis."""
        pieces = super().collect_usage_pieces(ctx)
        return [re.sub(r"\.\.\.([]}]?)\.\.\.$", r"...\1", each).strip("{}") for each in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options in their groups."""
        params = self.get_params(ctx)
        arguments = [param for param in params if param.param_type_name == "argument"]
        options: dict[str, Any] = {str(param.name): param for param in params if param not in arguments}
        heads = {"Arguments": arguments}
        heads |= {group: [options[name] for name in names] for group, names in self._groups([*options]).items()}
        for head, members in heads.items():
            rows = [row for param in members if (row := record(param, ctx)) is not None]
            if rows:
                with formatter.section(bold(head)):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        write_examples(formatter, str(self.name))

    def _groups(self, names: list[str]) -> dict[str, list[str]]:
        return in_groups(str(self.name), names)


def record(param: Any, ctx: Any) -> tuple[str, str] | None:
    """A parameter as it is called, and what it means, in plain words; further spellings come at the end."""
    found = param.get_help_record(ctx)
    if found is None:
        return None
    name, text = found
    if param.param_type_name == "argument":
        return str(param.metavar or name), text.removesuffix("  [required]")
    more = further(param)
    for spelling in more:
        name = re.sub(rf", {spelling}\b(?!-)", "", name)
    for old, new in _METAVARS.items():
        name = name.replace(old, new)
    for pattern, new in _RANGES:
        text = pattern.sub(new, text)
    return name, f"{text}  (also {', '.join(more)})" if more else text


def further(param: Any) -> list[str]:
    """The long spellings of an option after its first one."""
    return [each for each in param.opts if each.startswith("--")][1:]


def write_examples(formatter: Any, command: str) -> None:
    """Write the examples of a command, each a line to copy under what it does."""
    examples: Sequence[tuple[str, str]] = EXAMPLES.get(command, ())
    if examples:
        with formatter.section(bold("Examples")):
            for line, what in examples:
                formatter.write(f"{'':{formatter.current_indent}}# {what}\n")
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def bold(text: str) -> str:
    """A heading, in bold on a terminal that has colours."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else typer.style(text, bold=True)
