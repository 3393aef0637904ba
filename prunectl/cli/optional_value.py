"""Options with an optional value, which the parser does not support, and values after options that take none."""

from collections.abc import Collection, Sequence
from typing import Any

from typer.core import TyperCommand

from prunectl.checkpoints.options.repair import METHODS
from prunectl.checkpoints.options.runtimes import RUNTIMES

OPTIONAL = {"--repair": METHODS}
"""The values of each of these options; without a value, the first is used."""
SWITCHES = {"--latency": ("--runtime", RUNTIMES)}
"""Options that take no value where they are switches, with the option that takes such values."""


class WithOptionalValues(TyperCommand):
    """A command in which `--repair` without a value means `--repair refit`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert omitted values, then parse."""
        for flag, values in OPTIONAL.items():
            args = completed(args, flag, values)
        for param in self.params:
            for flag in set(param.opts) & SWITCHES.keys() if getattr(param, "is_flag", False) else ():
                value = value_after(args, flag, SWITCHES[flag][1])
                if value is not None:
                    ctx.fail(f"{flag} takes no value; write {SWITCHES[flag][0]} {value}")
        return super().parse_args(ctx, args)


def completed(arguments: Sequence[str], flag: str, values: Collection[str]) -> list[str]:
    """The arguments, with the first value inserted after every `flag` without a value."""
    found: list[str] = []
    for i, argument in enumerate(arguments):
        found.append(argument)
        if argument == flag and (i + 1 == len(arguments) or arguments[i + 1] not in values):
            found.append(next(iter(values)))
    return found


def value_after(arguments: Sequence[str], flag: str, values: Collection[str]) -> str | None:
    """One of these values that follows a `flag`, as the next word or after `=`, or several with commas."""
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        following = value if equals else arguments[i + 1] if i + 1 < len(arguments) else ""
        if name == flag and set(following.split(",")) <= {*values}:
            return following
    return None
