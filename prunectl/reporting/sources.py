"""Reads the input of a report: checkpoints with their results and logs, and their problems."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunectl.checkpoints.ancestors import Ancestors
from prunectl.checkpoints.files import sha256
from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.inspect import inspect
from prunectl.checkpoints.names import SIDECARS, SUFFIXES, base_name, beside
from prunectl.checkpoints.record_checks import check_log, check_result
from prunectl.checkpoints.results import LOADER, data_name, is_on
from prunectl.checkpoints.texts import read_lines
from prunectl.errors import FileError
from prunectl.reporting.plan import Planned, planned

RESULTS, LOG = ".results.jsonl", ".log.jsonl"
_LISTED = 5
_SHOWN = 5
"""Most notices about the lines of one file."""


@dataclass(frozen=True, eq=False)
class Source:
    """A checkpoint, the results measured on exactly this file, and the log of its training.

    `seen` is the record of `inspect`, None if only results or a log exist.
    """

    path: Path
    seen: dict[str, Any] | None
    sha256: str | None
    results: tuple[dict[str, Any], ...]
    log: tuple[dict[str, Any], ...]

    @property
    def history(self) -> list[HistoryEntry]:
        """The history of the checkpoint, oldest first."""
        return [] if self.seen is None else [HistoryEntry(**entry) for entry in self.seen["history"]]

    @property
    def measured(self) -> dict[str, Any]:
        """The last `eval` record on the network's own data, else the last one on other data, else empty."""
        found = [record for record in self.results if record.get("command") == "eval"]
        own = [record for record in found if any(is_on(record.get("data", {}), name) for name in self.data)]
        return next(reversed(own or found), {})

    @property
    def data(self) -> tuple[str, ...]:
        """The names of the last training's data, else the header's; empty if unknown.

        A loader has no name: its network's data is that of the header (`prunectl.save(..., data=...)`).
        """
        described = next((e.options.get("data") for e in reversed(self.history) if e.command == "train"), None)
        if described is not None and (described.get("name") != LOADER or "source" in described):
            return tuple(str(described[key]) for key in ("name", "source") if key in described)
        return () if self.seen is None or not self.seen["data"] else (str(self.seen["data"]),)

    @property
    def attacks(self) -> list[dict[str, Any]]:
        """All records of `attack`, oldest first."""
        return [record for record in self.results if record.get("command") == "attack"]


@dataclass(frozen=True, eq=False)
class Sources:
    """The sources in the given order, the ancestors of each one (oldest first), and one line per problem.

    `plan` has the pipelines of sources made by a sweep.
    """

    given: tuple[Source, ...]
    lineage: dict[Path, tuple[Source, ...]]
    notices: tuple[str, ...]
    plan: dict[Path, Planned] = field(default_factory=dict)

    @property
    def every(self) -> dict[str, Source]:
        """All sources by path, ancestors included."""
        known = [*(one for before in self.lineage.values() for one in before), *self.given]
        return {str(source.path): source for source in known}


def collect(paths: Sequence[str | Path], *, parents: bool = False) -> Sources:
    """Read checkpoints, or results and logs without a checkpoint; a folder means all checkpoints in it.

    With `parents`, the ancestors of each checkpoint in its folder come before it.

    Raises:
        FileError, CheckpointError: nothing can be read.
    """
    notices: list[str] = []
    found = _readable(_checkpoints([Path(path) for path in paths]), notices)
    read = {source.path: source for source in found}
    ancestors = Ancestors()
    lineage: dict[Path, tuple[Source, ...]] = {}
    todo = list(found)
    while todo:
        source = todo.pop(0)
        before, missing = ancestors.of(source.path, source.history)
        for path in before:
            if path not in read:
                read[path] = _read(path, notices)
                todo.append(read[path])
        lineage[source.path] = tuple(read[path] for path in before)
        if source in found:
            notices += [_missing(source, step) for step in missing]
    given = [ancestor for source in found for ancestor in ((*lineage[source.path], source) if parents else (source,))]
    given = list(dict.fromkeys(given))
    return Sources(tuple(given), lineage, tuple(dict.fromkeys(notices)), planned(source.path for source in given))


def unmeasured_text(sources: Sources) -> str | None:
    """The names of networks without an accuracy, except steps towards a measured one; None if there are none."""
    steps = {entry.parent for source in sources.given if source.measured for entry in source.history}
    lacking = [each for each in sources.given if each.seen is not None and not each.measured]
    names = [base_name(each.path) for each in lacking if each.sha256 not in steps]
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "") if names else None


def _checkpoints(paths: Sequence[Path]) -> list[Path]:
    """The checkpoints of these paths, without the sidecars that a pattern such as *.safetensors also matches."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += _inside(path)
        elif path.name.endswith((RESULTS, LOG)):
            if not path.exists() and len(paths) == 1:
                raise FileError(f"cannot read {path}: no such file or directory; check the path")
            found.append(_owner(path))
        elif len(paths) == 1 or not _sidecar(path):
            found.append(path)
    if not found:
        raise FileError("expected checkpoints, got only files that belong to one; use the NAME.safetensors")
    return list(dict.fromkeys(found))


def _inside(folder: Path) -> list[Path]:
    """The checkpoints in a folder, including those of which only results or a log exist."""
    files = sorted(folder.iterdir())
    found = {file for file in files if file.name.endswith(SUFFIXES) and not _sidecar(file)}
    found |= {_owner(file) for file in files if file.name.endswith((RESULTS, LOG))}
    if not found:
        raise FileError(f"{folder} is a folder; use a checkpoint file (*.safetensors), or a folder that holds some")
    return sorted(found, key=lambda path: path.name)


def _sidecar(path: Path) -> bool:
    stem = next((path.name.removesuffix(suffix) for suffix in SUFFIXES if path.name.endswith(suffix)), "")
    return stem.endswith(SIDECARS)


def _owner(path: Path) -> Path:
    """The checkpoint that a results file or a log belongs to, even if it no longer exists."""
    base = path.name.removesuffix(RESULTS).removesuffix(LOG)
    names = [path.with_name(base + suffix) for suffix in SUFFIXES]
    return next((name for name in names if name.exists()), names[0])


def _readable(paths: Iterable[Path], notices: list[str]) -> list[Source]:
    """All readable checkpoints; the others, also missing ones, become notices.

    Raises:
        FileError, CheckpointError: no checkpoint can be read.
    """
    found, failures = [], []
    for path in paths:
        try:
            found.append(_read(path, notices))
        except FileError as error:
            failures.append(error)
    if failures and not found:
        raise failures[0]
    notices += [f"left out: {error}" for error in failures]
    return found


def _read(path: Path, notices: list[str]) -> Source:
    """Read one checkpoint with its results and its log."""
    results, log = beside(path, RESULTS), beside(path, LOG)
    there = path.exists() or not (results.exists() or log.exists())
    seen = inspect(path) if there else None
    records = _lines(results, check_result, notices)
    if seen is None:
        notices.append(f"{path} does not exist; only its results and log are shown")
        digest = next((str(r["checkpoint"]) for r in reversed(records) if r.get("checkpoint")), None)
    else:
        digest = sha256(path)
    own = tuple(record for record in records if record.get("checkpoint") == digest)
    if len(own) < len(records):
        notices.append(
            f"{results}: {len(records) - len(own)} of {len(records)} results are of another checkpoint; left out"
        )
    source = Source(path, seen, digest, own, tuple(_lines(log, check_log, notices)))
    on = source.measured.get("data", {})
    if on and source.data and not any(is_on(on, name) for name in source.data):
        notices.append(f"{path}: measured only on {data_name(on)}, but its own data is {source.data[0]}")
    return source


def _lines(path: Path, check: Callable[[Any], None], notices: list[str]) -> list[dict[str, Any]]:
    """The records of a file; an incomplete line (after a kill) or an unreadable file becomes a notice."""
    try:
        found, problems = read_lines(path, check)
    except FileError as error:
        notices.append(f"left out: {error}")
        return []
    if len(problems) > _SHOWN:
        problems = [*problems[:_SHOWN], f"{len(problems) - _SHOWN:,} more lines are not complete records"]
    notices += [f"{path}: {problem}; left out" for problem in problems]
    return found


def _missing(source: Source, step: int) -> str:
    """The notice for the parent of a history entry that was not found."""
    parent = str(source.history[step].parent)[:12]
    command = source.history[step - 1].command if step else "an earlier command"
    return f"{source.path}: its ancestor {parent} (made by {command}) is not in the folder, so its cost is not counted"
