"""prunectl help."""

from typing import Annotated, Any

import typer

from prunectl.cli.help.program import help_of


def command(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="COMMAND", help="A command, to show its help.")] = None,
) -> None:
    """Show the help of a command, or of prunectl."""
    top = ctx.find_root()
    program: Any = top.command
    if name is not None:
        program.resolve_command(top, [name])  # refuses unknown commands
    typer.echo(help_of(program, [name or ""]))
