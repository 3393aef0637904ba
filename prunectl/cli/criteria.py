"""prunectl criteria."""

import json
from typing import Annotated

import typer

from prunectl.cli import output
from prunectl.registry import names, resolve


def command(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False) -> None:
    """List the criteria: name, unit, when, schedule, scope, source."""
    from prunectl.criterion import Criterion

    rows = []
    for name in names("criterion"):
        method: Criterion = resolve("criterion", name)
        fields = ("unit", "when", "schedule", "scope", "source")
        rows.append({"name": name, **{field: getattr(method, field) for field in fields}})
    if as_json:
        output.emit(json.dumps(rows))
        return
    widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
    for row in [{key: key for key in widths}, *rows]:
        output.emit("  ".join(row[key].ljust(width) for key, width in widths.items()).rstrip())
