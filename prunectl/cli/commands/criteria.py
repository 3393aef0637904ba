"""prunectl criteria."""

import json
import shutil
import sys
from typing import Annotated

import typer

from prunectl.checkpoints.options.pruning import AUTO
from prunectl.cli import output
from prunectl.plugins.registry import names

_OF_AUTO = {
    "unit": "any",
    "when": "after",
    "schedule": "one-shot",
    "steps": 1,
    "scope": "any",
    "source": "the best of several by accuracy after repair",
}
"""What `auto` is in the terms of a criterion: it has no scorer of its own."""


def command(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False) -> None:
    """List the criteria: name, what they prune and when, schedule with its steps, scope, source."""
    from prunectl.criteria.base.criterion import criterion_named

    rows, fields = [], ("unit", "when", "schedule", "steps", "scope", "source")
    for name in names("criterion"):
        method = criterion_named(name)
        rows.append({"name": name, **{field: getattr(method, field) for field in fields}})
    rows.append({"name": AUTO, **_OF_AUTO})
    if as_json:
        output.emit(json.dumps(rows))
        return
    for row in rows:
        steps = row.pop("steps")
        row["schedule"] += "" if row["schedule"] in ("one-shot", "constant") else f" {steps}"
    table = [{key: key for key in rows[0]}, *rows]
    widths = {key: max(len(row[key]) for row in table) for key in rows[0] if key != "source"}
    whole = sum(widths.values()) + 2 * len(widths) + max(len(row["source"]) for row in table)
    apart = sys.stdout.isatty() and shutil.get_terminal_size().columns < whole
    for row in table:
        start = "  ".join(row[key].ljust(width) for key, width in widths.items())
        output.emit(start.rstrip() if apart else f"{start}  {row['source']}")
        if apart:
            output.emit(f"    {row['source']}")
