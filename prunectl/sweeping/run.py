"""The jobs of a sweep that remain, and its reports."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from prunectl.checkpoints.escapes import csv_cell
from prunectl.checkpoints.files import write
from prunectl.errors import FileError
from prunectl.reporting.formats import as_csv
from prunectl.reporting.page.data import shown_networks
from prunectl.reporting.page.figures.figure import require
from prunectl.reporting.page.page import render
from prunectl.reporting.rows import COLUMNS, report
from prunectl.reporting.sources import collect
from prunectl.sweeping import state
from prunectl.sweeping.stages import Result, Stage
from prunectl.sweeping.work import Job, Run


def jobs_of(stages: Sequence[Stage], folder: Path, run: Run) -> list[Job]:
    """The jobs of all unfinished stages in `folder`, parents first.

    Raises:
        FileError: a file that no sweep wrote would be replaced.
    """
    before = state.known(folder)
    named = state.with_known_names(stages, before)
    done = state.finished(folder, named, before)
    by_identity = {stage.identity: stage for stage in named}
    jobs: list[Job] = []
    waits_for: dict[str | None, str] = {}
    for stage in named:
        if stage.identity in done:
            continue
        checkpoint = state.checkpoint_of(folder, stage, by_identity)
        if stage.makes and checkpoint.exists() and not state.record_path(folder, stage).exists():
            raise FileError(f"{checkpoint} exists, and no sweep wrote it; use another --out")
        parent = None if stage.parent is None else by_identity[stage.parent]
        after = None if stage.parent in done else stage.parent
        if not stage.makes:  # one after another, because they write beside the same checkpoint
            after = waits_for.get(stage.parent, after)
            waits_for[stage.parent] = stage.identity
        jobs.append(
            Job(
                stage=stage,
                after=after,
                folder=folder,
                checkpoint=checkpoint,
                reads=None if parent is None else state.checkpoint_of(folder, parent, by_identity),
                begun=stage.identity in before,
                run=run,
                working=Path.cwd(),
            )
        )
    return jobs


def write_report(results: Sequence[Result], stages: Sequence[Stage], folder: Path) -> list[Path]:
    """Write report.json and report.csv about the pipelines' existing final checkpoints; returns these.

    A value of the plan with the name of a report column goes to plan_NAME. Without checkpoints, nothing is
    written.
    """
    before = state.known(folder)
    named = {stage.identity: stage for stage in state.with_known_names(stages, before)}
    done = state.finished(folder, list(named.values()), before)
    ended = [result for result in results if result.identity in done]
    paths = [state.checkpoint_of(folder, named[result.identity], named) for result in ended]
    if not paths:
        return []
    row_of = {row["checkpoint"]: row for row in report(paths)}  # pipelines may end in the same checkpoint
    rows = [row_of[str(path)] for path in paths]
    most_first = sorted(results, key=lambda result: -len(result.values))  # keys in the order of the plan
    keys = list(dict.fromkeys(key for result in most_first for key in result.values))
    named_as = {key: f"plan_{key}" if key in COLUMNS else key for key in keys}
    grid = [{"pipeline": r.pipeline, **{named_as[key]: r.values.get(key) for key in keys}} for r in ended]
    rows_with_values = [{**values, **row} for values, row in zip(grid, rows, strict=True)]
    write(folder / "report.json", json.dumps(rows_with_values, indent=1).encode() + b"\n")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head, *lines = csv.reader(io.StringIO(as_csv(rows)))
    writer.writerow(["pipeline", *map(csv_cell, named_as.values()), *head])
    writer.writerows([*map(csv_cell, values.values()), *line] for values, line in zip(grid, lines, strict=True))
    write(folder / "report.csv", text.getvalue().encode())
    return list(dict.fromkeys(paths))


def write_page(paths: Sequence[Path], folder: Path) -> Path:
    """Write report.html about these checkpoints, with up to twelve networks from inside.

    Raises:
        OptionError: matplotlib is not installed.
    """
    from prunectl.reporting.network.looks import looks  # noqa: PLC0415 torch, after the first line of a sweep

    require()
    sources = collect(paths)
    write(folder / "report.html", render(sources, looks=looks(sources, shown_networks(sources))).encode())
    return folder / "report.html"
