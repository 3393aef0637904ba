"""Prints a report on the terminal, in its width or 80 columns."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunectl.checkpoints.names import base_name
from prunectl.checkpoints.options.runtimes import EAGER, RUNTIMES
from prunectl.cli import output, terminal
from prunectl.cli.names import broken, first_broken

if TYPE_CHECKING:
    from rich.console import Console

    from prunectl.reporting.curves import Point, Setting

WIDTH, _NAME = 80, 26
_WIDE = 100
"""The columns from which the operating points have top-5 accuracy: names of methods need the room in fewer."""
_OTHERS = tuple(f"latency_{runtime}_" for runtime in RUNTIMES if runtime != EAGER)
"""Prefix of the columns of other runtimes."""


def show(rows: Sequence[dict[str, Any]], settings: "Sequence[Setting]") -> None:
    """Print one line per checkpoint; with several seeds, also one per operating point."""
    console = terminal.console(sys.stdout, None if sys.stdout.isatty() else WIDTH)
    if any(len(point.rows) > 1 for setting in settings for _, point in setting.points):
        for setting in settings:
            _points(console, setting)
        return
    _checkpoints(console, rows)
    _runtimes(console, rows)
    _robust(console, rows)
    if any(row["accuracy"] is None for row in rows):
        output.say("- = not measured; run `prunectl eval CHECKPOINT`")


def _checkpoints(console: "Console", rows: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    head = ("checkpoint", "accuracy", "weights\nsparsity", "nodes\nsparsity", "FLOPs", "bytes", "latency\n1 image")
    cells = [_cells(row) for row in rows]
    table = Table(box=None, pad_edge=False)
    table.add_column(head[0], overflow="fold", ratio=1)
    for title in head[1:]:
        table.add_column(title, justify="right", no_wrap=True)
    for line in first_broken(head, cells, console.width):
        table.add_row(*line)
    console.print(table)


def _cells(row: dict[str, Any]) -> list[str]:
    """A checkpoint as a row."""
    latency = row["latency_1_s"]
    return [
        base_name(Path(row["checkpoint"])),
        output.percent(row["accuracy"]),
        _fixed(row["weight_sparsity"]),
        _fixed(row["node_sparsity"]),
        output.counted(row["flops"]),
        output.counted(row["bytes"]),
        _ms(latency),
    ]


def _runtimes(console: "Console", rows: Sequence[dict[str, Any]]) -> None:
    """Print the latency in other runtimes, if it was measured."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title="latency", title_justify="left")
    table.add_column("checkpoint", overflow="fold")
    for title in ("runtime", "1 image", "64 images"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        for runtime in RUNTIMES:
            prefix = "latency" if runtime == EAGER else f"latency_{runtime}"
            one, many = (row[f"{prefix}_{batch}_s"] for batch in (1, 64))
            if one is not None or many is not None:
                table.add_row(broken(base_name(Path(row["checkpoint"])), _NAME), runtime, _ms(one), _ms(many))
    if any(row[key] is not None for row in rows for key in row if key.startswith(_OTHERS)):
        console.print(table)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.2f} ms"


def _robust(console: "Console", rows: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    attacked = [row for row in rows if row["robust"]]
    if not attacked:
        return
    table = Table(box=None, pad_edge=False, title="robust accuracy", title_justify="left")
    for title in ("checkpoint", "attack", "eps: accuracy"):
        table.add_column(title, overflow="fold")
    for row in attacked:
        for name, results in row["robust"].items():
            levels = "  ".join(f"{r['eps']:.4f}: {output.percent(r['robust_accuracy'])}" for r in results)
            table.add_row(broken(base_name(Path(row["checkpoint"])), _NAME), broken(name, _NAME), levels)
    console.print(table)


def _points(console: "Console", setting: "Setting") -> None:
    """Print mean and standard deviation over seeds, and below them what the checklist misses."""
    from rich.table import Table

    from prunectl.reporting.page.checklist import checklist

    labels = [(s.label if point is s.points[0] else "", point) for s, point in setting.points]
    every = [("dense", setting.dense)] if setting.dense is not None else []
    lines = [_point(label, point, wide=console.width >= _WIDE) for label, point in [*every, *labels]]
    head: tuple[str, ...] = (
        "criterion",
        "target",
        "top-1 %",
        "fewer\nweights",
        "fewer\nFLOPs*",
        "training\nFLOPs",
        "seeds",
    )
    if console.width >= _WIDE:
        head = (*head[:3], "top-5 %", *head[3:])
    table = Table(box=None, pad_edge=False, title=setting.name, title_justify="left")
    table.add_column(head[0], overflow="fold", ratio=1)
    for title in head[1:]:
        table.add_column(title, justify="right", no_wrap=True)
    for line in first_broken(head, lines, console.width):
        table.add_row(*line)
    console.print(table)
    if setting.points:
        console.print("* without pruned weights, which only sparse hardware skips")
    for check in checklist(setting):
        if not check.met:
            output.say(f"report: {check.rule}: {check.found}")


def _point(label: str, point: "Point", *, wide: bool) -> list[str]:
    """An operating point as a row."""
    from prunectl.reporting.formats import share_text, target_text

    compression, speedup, spent = (point.stat(key) for key in ("compression", "speedup", "training_flops"))
    return [
        label,
        target_text(point.target) or "-",
        share_text(point.stat("accuracy")),
        *([share_text(point.stat("top5"))] if wide else []),
        "-" if compression is None else f"{compression.mean:.3g}x",
        "-" if speedup is None else f"{speedup.mean:.3g}x",
        "-" if spent is None else output.counted(spent.mean),
        str(len(point.rows)),
    ]


def _fixed(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
