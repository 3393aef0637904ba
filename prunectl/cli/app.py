"""The command `prunectl`: one file per command in `commands/`, registered here."""

from prunectl.cli.commands import (
    attack,
    attacks,
    criteria,
    datasets,
    diff,
    eval,
    explain,
    export,
    guide,
    help,
    import_,
    inspect,
    log,
    models,
    predict,
    prune,
    repair,
    report,
    rerun,
    shrink,
    sweep,
    train,
)
from prunectl.cli.consent import consenting
from prunectl.cli.help.command import Command
from prunectl.cli.program import app, main
from prunectl.cli.torchrun import joining
from prunectl.cli.waiting import loading_ahead
from prunectl.cli.watched import watched

__all__ = ["app", "main"]

for module in (
    *(train, prune, repair, shrink, eval, attack, predict, report, sweep, log, diff, rerun, inspect, explain, criteria),
    *(import_, export, models, datasets, attacks, guide, help),
):
    name = module.__name__.rpartition(".")[2].rstrip("_")
    prepared = consenting(name, joining(name, module.command))
    app.command(name, cls=Command)(watched(name, loading_ahead(name, prepared)))
