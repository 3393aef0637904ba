"""Records which stages of a sweep are done: one small file per stage, in the folder `stages` of the sweep's folder."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from prunectl.checkpoints import files
from prunectl.checkpoints.files import sha256, write
from prunectl.checkpoints.results import records
from prunectl.checkpoints.texts import parsed
from prunectl.errors import FileError
from prunectl.sweeping.stages import Stage

FOLDER = "stages"
PLAN = "plan.toml"
WRITES = (PLAN, "report.csv", "report.json", "report.html")
"""The files of a sweep beside its checkpoints."""
Known = Mapping[str, dict[str, Any]]
"""Maps an identity to the record of the stage that last began or ended under it."""


def checkpoint_of(folder: Path, stage: Stage, stages: Mapping[str, Stage]) -> Path:
    """The checkpoint that a stage writes or measures."""
    owner = stage if stage.makes else stages[str(stage.parent)]
    return folder / f"{owner.name}.safetensors"


def record_path(folder: Path, stage: Stage) -> Path:
    """The path of a stage's record."""
    return folder / FOLDER / f"{stage.name}.json"


def note(folder: Path, stage: Stage, **facts: Any) -> None:
    """Write the record of a stage."""
    record = {"identity": stage.identity, "name": stage.name, "line": list(stage.arguments), **facts}
    write(record_path(folder, stage), json.dumps(record).encode() + b"\n")


def known(folder: Path) -> dict[str, dict[str, Any]]:
    """The records of earlier runs by identity; unreadable ones are skipped."""
    found = {}
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            record = parsed(path.read_bytes())
            if _is_name(record["identity"]) and _is_name(record["name"]):  # files are named after it
                found[record["identity"]] = record
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value) is not None


def with_known_names(stages: Sequence[Stage], before: Known) -> list[Stage]:
    """The same stages with their earlier names: a pipeline may be renamed or moved in the plan."""
    kept = [replace(s, name=before[s.identity]["name"]) if s.identity in before else s for s in stages]
    taken = {stage.name.lower() for stage in kept if stage.identity in before}
    return [
        stage
        if stage.identity in before or stage.name.lower() not in taken
        else replace(stage, name=f"{stage.name}-{stage.identity[:6]}")
        for stage in kept
    ]


def finished(folder: Path, stages: Sequence[Stage], before: Known) -> set[str]:
    """The identities of finished stages: they succeeded, and their files still exist unchanged."""
    by_identity = {stage.identity: stage for stage in stages}
    done: set[str] = set()
    for stage in stages:  # parents come first
        record = before.get(stage.identity, {})
        path = checkpoint_of(folder, stage, by_identity)
        if record.get("state") != "done" or not (stage.parent is None or stage.parent in done) or not path.is_file():
            continue
        digest = sha256(path)
        measured = stage.makes or any(r.get("command") == stage.command for r in records(path, digest))
        if record.get("sha256") == digest and measured:
            done.add(stage.identity)
    return done


def prepare(folder: Path, plan: str) -> None:
    """Create the folder of a sweep, or reuse one of an earlier sweep; the plan itself may already be there.

    Raises:
        FileError: it cannot be created, or the sweep would replace a file in it that no sweep wrote.
    """
    if not (folder / FOLDER).is_dir():
        for path in (folder / name for name in WRITES):
            if path.exists() and not (path.name == PLAN and path.read_bytes() == plan.encode()):
                raise FileError(f"{path} exists, and no sweep wrote it; use another --out")
    try:
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"cannot write {folder}: {(error.strerror or str(error)).lower()}; use another --out"
        ) from error


def locked(folder: Path) -> AbstractContextManager[None]:
    """Keep a folder to one sweep at a time; a kill frees it.

    Raises:
        FileError: another sweep has it.
    """
    taken = f"another sweep is running in {folder}; wait for it, or use another --out"
    return files.locked(folder / FOLDER / "lock", taken)
