"""The command `prunectl`: one file per command in `commands/`, registered here."""

from prunectl.cli.commands import (
    attack,
    criteria,
    diff,
    eval,
    explain,
    export,
    inspect,
    log,
    prune,
    report,
    rerun,
    shrink,
    sweep,
    train,
)
from prunectl.cli.program import app, main

__all__ = ["app", "main"]

for module in (train, prune, shrink, eval, attack, report, sweep, log, diff, rerun, inspect, explain, export, criteria):
    app.command(module.__name__.rpartition(".")[2])(module.command)
