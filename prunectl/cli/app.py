"""The command `prunectl`: one file per command in `commands/`, registered here."""

from prunectl.cli.commands import (
    attack,
    criteria,
    diff,
    eval,
    explain,
    export,
    guide,
    import_,
    inspect,
    log,
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
from prunectl.cli.optional_value import WithOptionalValues
from prunectl.cli.program import app, main
from prunectl.cli.waiting import loading_ahead

__all__ = ["app", "main"]

for module in (
    *(train, prune, repair, shrink, eval, attack, predict, report, sweep, log, diff, rerun, inspect, explain, criteria),
    *(import_, export, guide),
):
    name = module.__name__.rpartition(".")[2].rstrip("_")
    app.command(name, cls=WithOptionalValues)(loading_ahead(name, consenting(name, module.command)))
