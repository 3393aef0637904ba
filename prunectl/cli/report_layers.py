"""Prints what methods keep of each layer, on the terminal or as JSON, CSV or Markdown."""

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prunectl.cli import output, terminal
from prunectl.cli.report_table import WIDTH
from prunectl.errors import CheckpointError, PrunectlError

if TYPE_CHECKING:
    from prunectl.reporting.curves import Setting
    from prunectl.reporting.kept import Shapes
    from prunectl.reporting.layer_shares import LayerShares
    from prunectl.reporting.sources import Sources


def show(settings: "Sequence[Setting]", sources: "Sources", form: str) -> None:
    """Print a table for each setting and target, or with a `form` all values in one.

    Raises:
        CheckpointError: no layers of a pruned network are known.
    """
    from prunectl.reporting import formats
    from prunectl.reporting.layer_shares import COLUMNS, layer_shares, values

    every = ((setting, layer_shares(setting, sources.every, _dense(setting))) for setting in settings)
    found = [(setting, shares) for setting, shares in every if shares is not None]
    if not found:
        raise CheckpointError("no layers to show: expected pruned checkpoints that `prunectl eval` measured")
    rows = [row for setting, shares in found for row in values(setting, shares)]
    if form == "json":
        output.emit(json.dumps(rows))
    elif form == "csv":
        output.emit_lines(formats.table_csv(COLUMNS, [[row[key] for key in COLUMNS] for row in rows]).rstrip("\n"))
    elif form == "markdown":
        output.emit_lines(formats.table_markdown(COLUMNS, [[row[key] for key in COLUMNS] for row in rows]))
    else:
        for setting, shares in found:
            _tables(setting.name, shares)


def _dense(setting: "Setting") -> "Shapes | None":
    """The layers of the dense network in its order; None if its code is not trusted or a file is missing."""
    from prunectl.reporting.network.layers import dense_layers

    for _, point in setting.points:
        with contextlib.suppress(PrunectlError):
            return dense_layers(Path(point.rows[0]["checkpoint"]))
    return None


def _tables(name: str, shares: "LayerShares") -> None:
    """Print layers by methods, for each target: kept weights, then outputs with kept weights if some have none."""
    from rich.table import Table

    console = terminal.console(sys.stdout, None if sys.stdout.isatty() else WIDTH)
    for target in shares.targets:
        methods = [each for each in shares.methods if each.target == target]
        output.emit(f"{name}, {target or 'no target'}: weights kept, and outputs that keep any, in %")
        table = Table(box=None, pad_edge=False)
        table.add_column("layer", overflow="fold")
        table.add_column("dense", justify="right", no_wrap=True)
        for each in methods:
            table.add_column(each.label, justify="right", overflow="fold")
        for layer, shape in shares.layers.items():
            cells = [f"{100 * m.weights[layer].mean:.3g}, {100 * m.outputs[layer].mean:.3g}" for m in methods]
            table.add_row(layer, "x".join(map(str, shape)), *cells)
        console.print(table)
