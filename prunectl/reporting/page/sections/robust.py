"""Robust accuracy: over weight sparsity, over ε, and a table of all recorded attacks."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from prunectl.checkpoints.names import base_name
from prunectl.reporting.page.blocks import Cell, Section, Table
from prunectl.reporting.page.data import PageData
from prunectl.reporting.page.figures.attacks import robust_curves
from prunectl.reporting.page.figures.axes import AXES, corruption_measures, robust_measures
from prunectl.reporting.page.figures.figure import Figure
from prunectl.reporting.page.figures.tradeoff import trade_off
from prunectl.reporting.rows import attack_name, images_of

_MOST = 8
"""Most combinations of attack and ε drawn per setting; the table has all of them."""
_LEAD = (
    "The share of all test images that are still classified correctly under an attack. ε is the largest change that "
    "the attack may make to an image, in the attack's norm, with pixels from 0 to 1. Images that are misclassified "
    "without an attack count as wrong."
)
_COLUMNS = ("checkpoint", "method", "attack", "ε or severity", "accuracy %", "success %", "images")


def robust_section(data: PageData) -> Section:
    """Robust accuracy for every attack and ε, and accuracy on corrupted images."""
    section = Section("Robustness", _LEAD, legend=True, front=True)
    for part in data.each_setting():
        figures, more = _trade_offs(part)
        section.figures += figures
        if more:
            section.notes.append(f"{more} more combinations of attack and ε are in the table.")
    section.legend = section.front = bool(section.figures)
    curves = _over_eps(data)
    if curves is not None:
        section.figures.append(curves)
    table = _table(data)
    if table.rows:
        section.tables.append(table)
    else:
        section.notes.append("No attack was recorded. Run `prunectl attack CHECKPOINT` to measure robust accuracy.")
    return section


def _trade_offs(data: PageData) -> tuple[list[Figure], int]:
    """The figures of one setting, and the number of measures not drawn."""
    measures = robust_measures(data.setting)
    figures = [
        trade_off(data.setting, AXES[0], measure, data.styles, prefix=data.prefix, runs=data.runs)
        for measure in [*measures[:_MOST], *corruption_measures(data.sources)]
    ]
    drawn = [replace(f, caption="", title=f"{f.title}{data.suffix}") for f in figures if f is not None]
    return drawn, max(len(measures) - _MOST, 0)


def _over_eps(data: PageData) -> Figure | None:
    """The attacks on the network in focus, else on the first attacked one."""
    by_path = {row["checkpoint"]: row for row in data.rows}
    shown = [str(network.source.path) for network in data.networks]
    for path in dict.fromkeys([*shown, *by_path]):
        row = by_path[path]
        figure = robust_curves("robust-eps", row["accuracy"], row["robust"] or {})
        if figure is not None:
            name = base_name(data.sources.given[data.run_numbers[path]].path)
            return replace(figure, title=f"Accuracy under attack over ε: {name}")
    return None


def _table(data: PageData) -> Table:
    """All recorded attacks and corruptions; the last of several records of one attack."""
    rows: list[tuple[Cell, ...]] = []
    for number, source in enumerate(data.sources.given):
        method = data.methods.get(str(source.path)) or data.rows[number]["criterion"] or "dense"
        found: dict[tuple[str, float], tuple[Cell, ...]] = {}
        for record in source.attacks:
            for name, level, accuracy, success in _levels(record):
                found[name, level] = (
                    Cell(base_name(source.path), link=f"run-{number}"),
                    Cell(method),
                    Cell(name),
                    Cell(f"{level:.4g}", level),
                    Cell(f"{100 * accuracy:.2f}", accuracy),
                    Cell("-") if success is None else Cell(f"{100 * success:.2f}", success),
                    Cell(str(record.get("images", "-"))),
                )
        rows += found.values()
    numeric = (False, False, False, True, True, True, True)
    filters = ("method", "attack") if len(rows) > 2 else ()
    return Table("attacks", "Recorded attacks", _COLUMNS, numeric, tuple(rows), len(rows) > 2, filters)


def _levels(record: dict[str, Any]) -> Iterator[tuple[str, float, float, float | None]]:
    """Name, ε or severity, accuracy and success of each result of a record."""
    for result in record.get("results", []):
        yield attack_name(record), result["eps"], result["robust_accuracy"], result.get("success")
    for entry in record.get("corruptions", []):
        yield f"{entry['corruption']}{images_of(record)}", entry["severity"], entry["accuracy"], None
