"""What eval and attack noted of a checkpoint, found by the hash of its bytes."""

import json
from pathlib import Path
from typing import Any

from prunectl.header import beside


def records(path: Path, sha256: str) -> list[dict[str, Any]]:
    """The records of these very bytes, oldest first; lines that do not read (cut off by a kill) are left out."""
    file, found = beside(path, ".results.jsonl"), []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("checkpoint") == sha256:
            found.append(record)
    return found


def accuracy(path: Path, sha256: str) -> float | None:
    """The accuracy that eval measured last, None where it did not."""
    measured = [record["accuracy"] for record in records(path, sha256) if record.get("command") == "eval"]
    return measured[-1] if measured else None
