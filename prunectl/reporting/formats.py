"""Formats a report as comma-separated values, Markdown or LaTeX."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from prunectl.checkpoints.escapes import csv_cell, markdown, visible
from prunectl.reporting.curves import Point, Setting, Stat
from prunectl.reporting.rows import COLUMNS, ReportRow

PLUS_MINUS = r" \pm "
_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "_&%#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


def as_csv(rows: Sequence[ReportRow]) -> str:
    """Comma-separated values with a line of column names; `robust` holds `attack@eps=accuracy` parts."""
    return table_csv(
        COLUMNS, [[robust_text(row) if key == "robust" else row[key] for key in COLUMNS] for row in rows]
    ).rstrip("\n")


def table_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table as comma-separated values."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([csv_cell(column) for column in columns])
    writer.writerows(["" if value is None else csv_cell(value) for value in row] for row in rows)
    return text.getvalue()


def as_markdown(rows: Sequence[ReportRow]) -> str:
    """A Markdown table."""
    return table_markdown(
        COLUMNS, [[robust_text(row) if key == "robust" else row[key] for key in COLUMNS] for row in rows]
    )


def table_markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(markdown(_cell(value)) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def as_latex(settings: Sequence[Setting]) -> str:
    """A LaTeX table for `booktabs`: operating points with mean and standard deviation over seeds."""
    lines = [
        r"\begin{tabular}{llrrrrr}",
        r"\toprule",
        r"criterion & target & compression & theoretical speed-up & top-1 (\%) & top-5 (\%) & seeds \\",
    ]
    for setting in settings:
        lines += [r"\midrule", rf"\multicolumn{{7}}{{l}}{{{_escaped(setting.name)}}} \\"]
        if setting.dense is not None:
            lines.append(_latex_row("dense", setting.dense))
        lines += [_latex_row(series.label, point) for series, point in setting.points]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def target_text(target: float | str | None) -> str:
    """A target as text, empty without one."""
    return "" if target is None else f"{target:g}" if isinstance(target, float) else target


def share_text(stat: Stat | None, *, digits: int = 2, between: str = " ± ") -> str:
    """A share in percent, as `97.10 ± 0.25`; one seed has no deviation."""
    if stat is None:
        return "-"
    mean = f"{100 * stat.mean:.{digits}f}"
    return mean if stat.std is None else f"{mean}{between}{100 * stat.std:.{digits}f}"


def times(ratio: float) -> str:
    """A ratio with one decimal below 10, as `4.6×` or `2.0×`."""
    return f"{ratio:.1f}×" if ratio < 9.95 else f"{ratio:,.0f}×"


def seeds_text(count: int) -> str:
    """1 seed, 3 seeds."""
    return f"{count} seed{'s' * (count != 1)}"


def robust_text(row: ReportRow) -> str:
    """All robust accuracies of a row, for one cell."""
    attacks: dict[str, list[dict[str, Any]]] = row["robust"] or {}
    parts = [f"{name}@{r['eps']:.4g}={r['robust_accuracy']:.4f}" for name, results in attacks.items() for r in results]
    return " ".join(parts)


def _latex_row(label: str, point: Point) -> str:
    compression, speedup = point.stat("compression"), point.stat("speedup")
    cells = [
        _escaped(label),
        _escaped(target_text(point.target)),
        "-" if compression is None else rf"${compression.mean:.3g}\times$",
        "-" if speedup is None else rf"${speedup.mean:.3g}\times$",
        *(f"${share_text(point.stat(key), between=PLUS_MINUS)}$" for key in ("accuracy", "top5")),
        str(len(point.rows)),
    ]
    return " & ".join(cells) + r" \\"


def _escaped(text: str) -> str:
    return visible(text, "").translate(_LATEX)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
