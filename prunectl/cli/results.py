"""Records the measurements of `eval` and `attack`."""

import json
from pathlib import Path
from typing import Any

from prunectl.checkpoints.files import append_record, check_target, json_line
from prunectl.checkpoints.names import beside
from prunectl.cli import output
from prunectl.errors import FileError


def results_of(checkpoint: Path) -> Path | None:
    """The file in which a command records its measurements; None, with a warning, if it cannot be written."""
    path = beside(checkpoint, ".results.jsonl")
    try:
        check_target(path, force=True, otherwise="the results are not recorded")
    except FileError as error:
        output.warn(str(error))
        return None
    return path


def hand_over(
    path: Path | None,
    command: str,
    checkpoint: Path,
    sha256: str | None,
    record: dict[str, Any],
    *,
    as_json: bool,
    resumed: bool = False,
) -> None:
    """Append what a command measured to its results file, if it has one, and print it, or the checkpoint's path.

    Only the first of several processes does. The file is written first, because the next command of a pipe reads it; if
    that fails, the record is printed anyway. A `resumed` measurement may already be recorded, if it was killed right
    after that.

    Raises:
        FileError: it could not be recorded.
    """
    from prunectl.torchtools.distributed import leads

    if not leads():
        return
    noted = _dated(command, sha256, record)
    failure = None
    if path is not None:
        try:
            if not (resumed and _is_noted(checkpoint, noted)):
                append_record(path, noted)
        except FileError as error:
            failure = error
    output.emit(json_line(noted) if as_json else checkpoint)
    if failure is not None:
        raise FileError(f"{failure}; the results above are not recorded") from failure


def note(path: Path | None, command: str, sha256: str | None, record: dict[str, Any]) -> None:
    """Append what a command measured of a further checkpoint; a failure is a warning.

    Only the first of several processes does.
    """
    from prunectl.torchtools.distributed import leads

    if path is None or not leads():
        return
    try:
        append_record(path, _dated(command, sha256, record))
    except FileError as error:
        output.warn(f"{error}; its results are not recorded")


def _dated(command: str, sha256: str | None, record: dict[str, Any]) -> dict[str, Any]:
    from datetime import UTC, datetime

    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"command": command, "checkpoint": sha256, "time": now, **record}


def _is_noted(checkpoint: Path, record: dict[str, Any]) -> bool:
    """Whether the last record is the same, including the seconds of each part."""
    from prunectl.checkpoints.results import records

    before = records(checkpoint, record["checkpoint"])
    return bool(before) and {**before[-1], "time": ""} == json.loads(json_line({**record, "time": ""}))
