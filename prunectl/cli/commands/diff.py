"""prunectl diff."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from prunectl.checkpoints.names import checkpoint_file
from prunectl.cli import options, output, terminal
from prunectl.cli.names import first_broken

_LISTED = 3


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
    from prunectl.measuring.cost import cost

    ours, theirs = read(a), read(b)
    record = {
        "checkpoints": [str(a), str(b)],
        "identical": ours.sha256 == theirs.sha256,
        **diff(ours, theirs),
        "flops": [cost(c.model, c.masks, c.spec.input).flops for c in (ours, theirs)],
        "bytes": [checkpoint_file(path).stat().st_size for path in (a, b)],
        "accuracy": [recorded_accuracy(path, str(c.sha256), c.data) for path, c in ((a, ours), (b, theirs))],
    }
    if as_json:
        output.emit(json.dumps(record))
    else:
        show(record)


def show(record: dict[str, Any]) -> None:
    """Print the differences, for 80 columns."""
    if record["identical"]:
        output.emit("the same bytes")
        return
    for key, (was, now) in record["network"].items():
        output.emit(f"network: {key} {was} -> {now}")
    for spec, (was, now) in record["files"].items():
        output.emit(f"{spec}: another file, sha256 {was[:12]} -> {now[:12]}")
    for step in record["steps"]:
        output.emit(_step(step))
    _layers(record["layers"])
    if record["same_tensors"] and record["same_masks"]:
        output.emit("all tensors and masks are the same")
    elif record["largest_difference"]:
        found = record["largest_difference"]
        shown = ", ".join(list(found)[:_LISTED]) + (", ..." if len(found) > _LISTED else "")
        verb = "differs" if len(found) == 1 else "differ"
        output.emit(f"{output.many(len(found), 'tensor')} of the same shape {verb}: {shown}")
    for title, unit in (("FLOPs", ""), ("bytes", "B")):
        was, now = record.get(title.lower(), (0, 0))
        if was != now:
            output.emit(f"{title} {output.counted(was)}{unit} -> {output.counted(now)}{unit}")
    _accuracies(record)


def _accuracies(record: dict[str, Any]) -> None:
    """Print both accuracies, or how to measure an unknown one."""
    if all(found is None for found in record["accuracy"]):
        return
    texts = " -> ".join(output.percent(found) for found in record["accuracy"])
    pairs = zip(record["checkpoints"], record["accuracy"], strict=True)
    unknown = next((path for path, found in pairs if found is None), None)
    output.emit(f"accuracy {texts}" + ("" if unknown is None else f"; run `prunectl eval {shlex.quote(unknown)}`"))


def _step(step: dict[str, Any]) -> str:
    """A step in one line."""
    i, j = (None if at is None else at + 1 for at in step["at"])
    if i is None or j is None:
        return f"step {j if i is None else i}, {step['command']}: only in {'B' if i is None else 'A'}"
    place = f"step {i}" if i == j else f"step {i} of A, {j} of B"
    changes = {**step["options"], **step["versions"]}
    changed = ", ".join(f"{key} {was} -> {now}" for key, (was, now) in changes.items())
    return f"{place}, {step['command']}: {changed or 'the same'}"


def _layers(rows: list[dict[str, Any]]) -> None:
    """Print the layers that differ, as a table."""
    from rich.table import Table

    differing = [row for row in rows if row["jaccard"] != 1 or row["largest_difference"] or _widths(row)]
    if not differing:
        return
    head = ("layer", "shape", "kept A", "kept B", "overlap\n(Jaccard)", "largest\ndifference")
    table = Table(box=None, pad_edge=False)
    for title in head:
        table.add_column(title, justify="left" if title == "layer" else "right", no_wrap=title != "layer")
    cells = [
        [
            row["name"].removesuffix(".weight"),
            _shape(*row["shape"]),
            *(f"{count:,}" for count in row["kept"]),
            "-" if row["jaccard"] is None else f"{row['jaccard']:.4f}",
            "-" if row["largest_difference"] is None else f"{row['largest_difference']:.3g}",
        ]
        for row in differing
    ]
    console = terminal.console(sys.stdout, None if sys.stdout.isatty() else 80)
    for row in first_broken(head, cells, console.width):
        table.add_row(*row)
    console.print(table)


def _shape(ours: list[int], theirs: list[int]) -> str:
    """One shape, or how two differ: in channels or neurons of the output and the input."""
    if ours == theirs or len(ours) != len(theirs):
        return "\n-> ".join("x".join(map(str, shape)) for shape in ([ours] if ours == theirs else [ours, theirs]))
    names = ("out", "in", "height", "width")
    sides = zip(names, ours, theirs, strict=False)
    return "\n".join(f"{name} {was} -> {now}" for name, was, now in sides if was != now)


def _widths(row: dict[str, Any]) -> bool:
    return bool(row["shape"][0] != row["shape"][1])
