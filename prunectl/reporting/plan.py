"""Reads the names of a sweep's pipelines from its `report.json`."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

REPORT = "report.json"
Value = str | int | float


@dataclass(frozen=True)
class Planned:
    """The pipeline of a plan that made a checkpoint, with its values of the grid."""

    pipeline: str
    values: tuple[tuple[str, Value], ...]


def planned(paths: Iterable[Path]) -> dict[Path, Planned]:
    """The pipeline of each checkpoint that a sweep made; the sweep's `report.json` is in the checkpoint's folder."""
    paths = list(paths)
    by_folder = {folder: _pipelines(folder / REPORT) for folder in dict.fromkeys(path.parent for path in paths)}
    return {path: found for path in paths if (found := by_folder[path.parent].get(path.name)) is not None}


def method_names(groups: Sequence[Sequence[Planned | None]], fallbacks: Sequence[str]) -> list[str]:
    """A name for each group of runs: the pipeline and the values that distinguish it from other groups.

    A group with runs from outside the plan gets its fallback, which also distinguishes groups with the same name.
    """
    everywhere: dict[tuple[str, str], set[Value]] = {}
    for group in groups:
        for one in filter(None, group):
            for key, value in one.values:
                everywhere.setdefault((one.pipeline, key), set()).add(value)
    names = [
        fallback if not group or None in group else _name([one for one in group if one is not None], everywhere)
        for group, fallback in zip(groups, fallbacks, strict=True)
    ]
    often = Counter(names)
    return [
        name if often[name] == 1 or name == fallback else f"{name} ({fallback})"
        for name, fallback in zip(names, fallbacks, strict=True)
    ]


def _name(group: Sequence[Planned], everywhere: dict[tuple[str, str], set[Value]]) -> str:
    first = group[0]
    same = [
        (key, value)
        for key, value in first.values
        if all((key, value) in one.values for one in group) and len(everywhere[first.pipeline, key]) > 1
    ]
    pipelines = " or ".join(dict.fromkeys(one.pipeline for one in group))
    return " ".join([pipelines, *(value if isinstance(value, str) else f"{key} {value:g}" for key, value in same)])


def _pipelines(path: Path) -> dict[str, Planned]:
    """Pipelines by the name of the checkpoint's file; empty if there is no such file or it is invalid."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    found: dict[str, Planned] = {}
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and isinstance(row.get("pipeline"), str) and isinstance(row.get("checkpoint"), str):
            found.setdefault(Path(row["checkpoint"]).name, Planned(row["pipeline"], _values(row)))
    return found


def _values(row: dict[str, Any]) -> tuple[tuple[str, Value], ...]:
    """The values of the grid, which precede the columns of the report."""
    keys = [key for key in takewhile(lambda key: key != "checkpoint", row) if key != "pipeline"]
    return tuple(
        (key.removeprefix("plan_"), row[key])
        for key in keys
        if isinstance(row[key], str | int | float) and not isinstance(row[key], bool)
    )
