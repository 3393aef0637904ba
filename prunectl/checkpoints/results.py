"""Reads the records of eval and attack for a checkpoint, found by its hash."""

from pathlib import Path
from typing import Any

from prunectl.checkpoints.header import read_toc
from prunectl.checkpoints.names import beside
from prunectl.checkpoints.record_checks import check_result
from prunectl.checkpoints.texts import read_lines
from prunectl.errors import FileError

LOADER = "loader"
"""The name in histories and records for images from a loader in a Python program."""


def records(path: Path, sha256: str) -> list[dict[str, Any]]:
    """The records of a checkpoint with this hash, oldest first; invalid lines are left out.

    Raises:
        FileError: the file beside it cannot be read.
    """
    found, _ = read_lines(beside(path, ".results.jsonl"), check_result)
    return [record for record in found if record.get("checkpoint") == sha256]


def recorded_accuracy(path: Path, sha256: str, data: str) -> float | None:
    """The last accuracy that eval measured on the test images of `data`, or None."""
    measured = [
        record["accuracy"]
        for record in records(path, sha256)
        if record.get("command") == "eval" and is_on(record.get("data", {}), data) and not record["data"].get("tuning")
    ]
    return measured[-1] if measured else None


def is_of(file: Path, sha256: str | None) -> bool:
    """Whether a tensor file beside a checkpoint records this hash of the checkpoint."""
    try:
        return sha256 is not None and read_toc(file).metadata.get("checkpoint") == sha256
    except FileError:
        return False


def data_name(described: dict[str, Any]) -> str:
    """A dataset's name, and whether held-out training images replaced the test set."""
    return str(described.get("name")) + (" (held out)" if described.get("tuning") else "")


def is_on(described: dict[str, Any], data: str) -> bool:
    """Whether a record's images are of `data`."""
    return data in (described.get("name"), described.get("source"))
