"""An option whose value may be left out, which the parser itself does not know."""

from collections.abc import Collection, Sequence
from typing import Any

from typer.core import TyperCommand

from prunectl.checkpoints.options.repair import METHODS

OPTIONAL = {"--repair": METHODS}
"""The values of each of these options; alone it means the first."""


class WithOptionalValues(TyperCommand):
    """A command in which `--repair` alone is `--repair refit`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in what was left out, then parse."""
        for flag, values in OPTIONAL.items():
            args = completed(args, flag, values)
        return super().parse_args(ctx, args)


def completed(arguments: Sequence[str], flag: str, values: Collection[str]) -> list[str]:
    """The arguments with the first of the values behind every `flag` that none of them follows."""
    found: list[str] = []
    for i, argument in enumerate(arguments):
        found.append(argument)
        if argument == flag and (i + 1 == len(arguments) or arguments[i + 1] not in values):
            found.append(next(iter(values)))
    return found
