"""Where `eval` and `attack` note what they measured."""

from pathlib import Path
from typing import Any

from prunectl.checkpoints.files import append_record, check_target, json_line
from prunectl.checkpoints.names import beside
from prunectl.cli import output
from prunectl.errors import FileError


def results_of(checkpoint: Path) -> Path | None:
    """Where a command notes what it measures; None, which is said, where nothing can be written."""
    path = beside(checkpoint, ".results.jsonl")
    try:
        check_target(path, force=True, otherwise="what is measured is not noted there")
    except FileError as error:
        output.warn(str(error))
        return None
    return path


def note(path: Path | None, command: str, sha256: str | None, record: dict[str, Any]) -> str:
    """Append what a command measured to its results file, if it has one, and return the line."""
    from datetime import UTC, datetime

    now = datetime.now(UTC).isoformat(timespec="seconds")
    noted = {"command": command, "checkpoint": sha256, "time": now, **record}
    return json_line(noted) if path is None else append_record(path, noted)
