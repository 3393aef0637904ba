"""Options with an optional value, which the parser does not support, and values after options that take none."""

from collections.abc import Collection, Sequence
from typing import Any

from typer.core import TyperCommand


class WithOptionalValues(TyperCommand):
    """A command in which `--repair` without a value means `--repair refit`, and `--latency onnx` says what to write."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse the value of a switch, insert omitted values, then parse."""
        from prunectl.checkpoints.options.repair import METHODS
        from prunectl.checkpoints.options.runtimes import RUNTIMES

        switches = {flag for param in self.params if getattr(param, "is_flag", False) for flag in param.opts}
        runtime = value_after(args, "--latency", RUNTIMES) if "--latency" in switches else None
        if runtime is not None:
            ctx.fail(f"--latency takes no value; write --runtime {runtime}")
        return super().parse_args(ctx, completed(args, "--repair", METHODS))


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
