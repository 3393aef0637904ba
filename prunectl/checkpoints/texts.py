"""Reads JSON and TOML from untrusted files; bad ones raise ValueError, however deep or long they are."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prunectl.checkpoints.opened import readable
from prunectl.errors import FileError

DEPTH = 32
MOST_LINES, MOST_BYTES = 100_000, 2**30
"""Limits for a file of records; a training logs a hundred records and one for each epoch."""
_ESCAPED = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
"""Half a surrogate pair, or a zero character; no file name has these."""


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, a text in it is not Unicode or has a zero character, or it is nested deeper than
        `DEPTH`.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    opened = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    if opened > DEPTH and _is_deep(value):
        raise ValueError("it is nested too deep")
    if _ESCAPED.search(text if isinstance(text, str) else text.decode("utf-8", "replace")):
        _check_texts(value)
    return value


def _check_texts(value: Any) -> None:
    """Refuse zero characters and half surrogate pairs, except those that encode a byte of a file name.

    Raises:
        ValueError: a text is not Unicode, or holds a zero character.
    """
    if isinstance(value, dict | list):
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            _check_texts(each)
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text in it has a zero character")
        try:
            value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise ValueError("a text in it is not Unicode") from error


def parsed_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: it is not TOML, nested too deep, or a text in it holds a zero character.
    """
    import tomllib  # noqa: PLC0415  (it takes longer to import than all else here)

    try:
        tables = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if _is_deep(tables):
        raise ValueError("it is nested too deep")
    _check_texts(tables)
    return tables


def _is_deep(value: Any) -> bool:
    """Whether anything is nested deeper than `DEPTH`, checked level by level, as recursion would overflow."""
    level = [value]
    for _ in range(DEPTH + 1):
        nested = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = [part for parts in nested for part in parts]
    return bool(level)


def read_lines(path: Path, check: Callable[[Any], None]) -> tuple[list[dict[str, Any]], list[str]]:
    """The records of a file with one JSON object per line, and the problems of its other lines.

    A line that a kill cut off, or for which `check` raises ValueError, is left out. A missing file counts as empty.

    Raises:
        FileError: it cannot be read, or is too large.
    """
    try:
        with readable(path) as file:
            size = os.fstat(file.fileno()).st_size
            lines = file.read(MOST_BYTES + 1).split(b"\n") if size <= MOST_BYTES else []
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}; make it readable, or move it away") from error
    if size > MOST_BYTES or len(lines) > MOST_LINES + 1:
        raise FileError(f"{path} has more than {MOST_LINES:,} lines or {MOST_BYTES:,} bytes, more than prunectl writes")
    found, problems = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = parsed(line)
            if not isinstance(record, dict):
                raise ValueError("no record")
        except ValueError:
            problems.append(f"line {number} is not a complete record")
            continue
        try:
            check(record)
            found.append(record)
        except ValueError as error:
            problems.append(f"line {number}, {error}")
    return found, problems
