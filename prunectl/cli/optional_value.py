"""Options with an optional value, which the parser does not support."""

from collections.abc import Collection, Sequence
from typing import Any

from typer.core import TyperCommand


class WithOptionalValues(TyperCommand):
    """A command in which `--repair` without a value means `--repair refit`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert omitted values, then parse."""
        from prunectl.checkpoints.options.repair import METHODS

        return super().parse_args(ctx, completed(args, "--repair", METHODS))


def completed(arguments: Sequence[str], flag: str, values: Collection[str]) -> list[str]:
    """The arguments, with the first value inserted after every `flag` without a value."""
    found: list[str] = []
    for i, argument in enumerate(arguments):
        found.append(argument)
        if argument == flag and (i + 1 == len(arguments) or arguments[i + 1] not in values):
            found.append(next(iter(values)))
    return found
