"""prunectl diff."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from prunectl.cli import options, output, terminal
from prunectl.cli.names import broken

_NAME = 24


def command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A checkpoint.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another checkpoint.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON record.")] = False,
    trust: options.Trust = False,
) -> None:
    """Show what differs between two checkpoints: commands and options, masks, widths, weights, accuracy."""
    from prunectl.checkpoints.checkpoint import read
    from prunectl.checkpoints.diff import diff
    from prunectl.checkpoints.results import recorded_accuracy

    ours, theirs = read(a), read(b)
    record = {
        "checkpoints": [str(a), str(b)],
        "identical": ours.sha256 == theirs.sha256,
        **diff(ours, theirs),
        "accuracy": [recorded_accuracy(path, str(c.sha256), c.data) for path, c in ((a, ours), (b, theirs))],
    }
    if as_json:
        output.emit(json.dumps(record))
    else:
        show(record)


def show(record: dict[str, Any]) -> None:
    """Print what differs, for 80 columns."""
    if record["identical"]:
        output.emit("the same bytes")
        return
    for key, (was, now) in record["network"].items():
        output.emit(f"network: {key} {was} -> {now}")
    for step in record["steps"]:
        output.emit(_step(step))
    _layers(record["layers"])
    if record["same_tensors"] and record["same_masks"]:
        output.emit("all tensors and masks are the same")
    elif record["largest_difference"]:
        count = len(record["largest_difference"])
        output.emit(f"{output.many(count, 'tensor')} of the same shape {'differs' if count == 1 else 'differ'}")
    if any(found is not None for found in record["accuracy"]):
        output.emit("accuracy " + " -> ".join(output.percent(found) for found in record["accuracy"]))


def _step(step: dict[str, Any]) -> str:
    """A step in a line."""
    i, j = (None if at is None else at + 1 for at in step["at"])
    if i is None or j is None:
        return f"step {j if i is None else i}, {step['command']}: only in {'B' if i is None else 'A'}"
    place = f"step {i}" if i == j else f"step {i} of A, {j} of B"
    changes = {**step["options"], **step["versions"]}
    changed = ", ".join(f"{key} {was} -> {now}" for key, (was, now) in changes.items())
    return f"{place}, {step['command']}: {changed or 'the same'}"


def _layers(rows: list[dict[str, Any]]) -> None:
    """The layers that differ, as a table."""
    from rich.table import Table

    differing = [row for row in rows if row["jaccard"] != 1 or row["largest_difference"] or _widths(row)]
    if not differing:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("layer", overflow="fold", ratio=1)
    for title in ("shape", "kept A", "kept B", "overlap\n(Jaccard)", "largest\ndifference"):
        table.add_column(title, justify="right", no_wrap=title != "shape")
    for row in differing:
        shapes = ["x".join(str(side) for side in shape) for shape in row["shape"]]
        table.add_row(
            broken(row["name"], _NAME),
            shapes[0] if shapes[0] == shapes[1] else f"{shapes[0]} -> {shapes[1]}",
            *(f"{count:,}" for count in row["kept"]),
            "-" if row["jaccard"] is None else f"{row['jaccard']:.4f}",
            "-" if row["largest_difference"] is None else f"{row['largest_difference']:.3g}",
        )
    terminal.console(sys.stdout, None if sys.stdout.isatty() else 80).print(table)


def _widths(row: dict[str, Any]) -> bool:
    return bool(row["shape"][0] != row["shape"][1])
