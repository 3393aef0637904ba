"""The table of all checkpoints."""

from collections.abc import Sequence
from pathlib import Path

from prunectl.checkpoints.names import base_name
from prunectl.reporting.formats import robust_text, target_text
from prunectl.reporting.history import pruning_method
from prunectl.reporting.page.blocks import Cell, Section, Table
from prunectl.reporting.page.data import PageData
from prunectl.reporting.rows import ReportRow
from prunectl.reporting.sources import Source

_NUMBERS = (
    ("accuracy", "top-1 %", "{:.2f}", 100.0),
    ("top5", "top-5 %", "{:.2f}", 100.0),
    ("loss", "loss", "{:.4f}", 1.0),
    ("weight_sparsity", "weight sparsity", "{:.4f}", 1.0),
    ("node_sparsity", "node sparsity", "{:.4f}", 1.0),
    ("weights", "weights", "{:,}", 1),
    ("flops", "FLOPs", "{:,}", 1),
    ("nonzero_flops", "FLOPs without pruned weights", "{:,}", 1),
    ("training_flops", "training GFLOPs", "{:,.4g}", 1e-9),
    ("bytes", "bytes", "{:,}", 1),
    ("latency_1_s", "ms, 1 image", "{:.3f}", 1e3),
    ("latency_64_s", "ms, 64 images", "{:.2f}", 1e3),
)
_MEASURED = (
    ("latency_compiled_1_s", "ms, 1 image, torch.compile", "{:.3f}", 1e3),
    ("latency_compiled_64_s", "ms, 64 images, torch.compile", "{:.2f}", 1e3),
    ("latency_onnx_1_s", "ms, 1 image, ONNX Runtime", "{:.3f}", 1e3),
    ("latency_onnx_64_s", "ms, 64 images, ONNX Runtime", "{:.2f}", 1e3),
)
"""Columns that are shown if some network was measured this way."""
_Number = tuple[str, str, str, float]


def checkpoints_section(data: PageData) -> Section:
    """One row per given checkpoint."""
    numbers = (*_NUMBERS, *(each for each in _MEASURED if any(row[each[0]] is not None for row in data.rows)))
    columns = ("checkpoint", "method", "target", "seed", *(title for _, title, *_ in numbers), "robust", "sha256")
    numeric = (False, False, True, True, *(True for _ in numbers), False, False)
    body = tuple(_row(data, source, row, numbers) for source, row in zip(data.sources.given, data.rows, strict=True))
    filters = ("method", "target", "seed") if len(body) > 1 else ()
    unmeasured = any(row["accuracy"] is None for row in data.rows)
    return Section(
        "All checkpoints",
        "Only results measured on exactly these files count. Of several measurements, the last one is shown."
        + (" - means not measured; run `prunectl eval` on that checkpoint." if unmeasured else ""),
        tables=[Table("checkpoints", "Checkpoints", columns, numeric, body, True, filters, "run")],
    )


def _row(data: PageData, source: Source, row: ReportRow, numbers: Sequence[_Number]) -> tuple[Cell, ...]:
    seed, target = row["seed"], pruning_method(source.history).target
    inside = next((i for i, network in enumerate(data.networks) if network.source is source), None)
    return (
        Cell(base_name(Path(row["checkpoint"])), link=None if inside is None else f"inside-{inside}"),
        Cell(data.methods.get(row["checkpoint"]) or row["criterion"] or "dense"),
        Cell(target_text(target), target if isinstance(target, float) else None),
        Cell("" if seed is None else str(seed), seed if isinstance(seed, int) else None),
        *(_cell(row[key], form, factor) for key, _, form, factor in numbers),
        Cell(robust_text(row)),
        Cell((source.sha256 or "")[:12]),
    )


def _cell(value: float | None, form: str, factor: float) -> Cell:
    return Cell("-") if value is None else Cell(form.format(value * factor), value)
