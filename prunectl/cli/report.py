"""prunectl report."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from prunectl.cli import options, output
from prunectl.errors import OptionError
from prunectl.header import base_name


def command(
    checkpoints: Annotated[
        list[str] | None, typer.Argument(metavar="CHECKPOINT...", help="Checkpoints, or - for the path on stdin.")
    ] = None,
    parents: Annotated[
        bool, typer.Option("--parents", help="Also the checkpoints that these came from, found beside them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    config: options.Config = None,
) -> None:
    """Show checkpoints side by side: what was done to them, and what eval and attack measured."""
    from prunectl import report

    if as_json + as_csv + as_markdown > 1:
        raise OptionError("give one of --json, --csv and --markdown")
    given: list[str | None] = [*checkpoints] if checkpoints else [None]
    rows = report.report(
        [Path(c) if c not in (None, "-") else options.checkpoint_path(c) for c in given], parents=parents
    )
    if as_json:
        output.emit(json.dumps(rows))
    elif as_csv:
        output.emit(report.as_csv(rows))
    elif as_markdown:
        output.emit(report.as_markdown(rows))
    else:
        _show(rows)


def _show(rows: list[dict[str, Any]]) -> None:
    """A table for a terminal of 80 columns; robust accuracies in one below."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100)
    table = Table(box=None, pad_edge=False)
    table.add_column("checkpoint", overflow="fold", ratio=1)
    for title in ("accuracy", "weights\nsparsity", "nodes\nsparsity", "FLOPs", "bytes", "latency\n1 image"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        latency = row["latency_1_s"]
        table.add_row(
            base_name(Path(row["checkpoint"])),
            output.percent(row["accuracy"]),
            f"{row['weight_sparsity']:.4f}",
            "-" if row["node_sparsity"] is None else f"{row['node_sparsity']:.4f}",
            output.counted(row["flops"]),
            output.counted(row["bytes"]),
            "-" if latency is None else f"{1e3 * latency:.2f} ms",
        )
    console.print(table)
    attacked = [row for row in rows if row["robust"]]
    if attacked:
        robust = Table(box=None, pad_edge=False, title="robust accuracy", title_justify="left")
        for title in ("checkpoint", "attack", "eps: accuracy"):
            robust.add_column(title, overflow="fold")
        for row in attacked:
            for name, results in row["robust"].items():
                levels = "  ".join(f"{r['eps']:.4f}: {output.percent(r['robust_accuracy'])}" for r in results)
                robust.add_row(base_name(Path(row["checkpoint"])), name, levels)
        console.print(robust)
    if any(row["accuracy"] is None for row in rows):
        output.say("- = not measured; run `prunectl eval CHECKPOINT`")
