"""Records where the files are that a checkpoint names, beside its header; read without torch."""

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prunectl.checkpoints.files import PLACES
from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.options.table import plugins_of
from prunectl.checkpoints.texts import parsed
from prunectl.errors import ChangedCode, CheckpointError
from prunectl.plugins.code_files import imported_sha256
from prunectl.plugins.places import Place, Places, exists, place_of, sha256_of
from prunectl.plugins.registry import names


def written(specs: Iterable[str], known: Places, path: Path, *, absolute: bool = True) -> str | None:
    """The record of these names' places for a file at `path`, as JSON; None if they name no file.

    `known` are the places that the names came with; other names are relative to the working folder. Without `absolute`,
    only their path relative to the file is recorded. A code file that has changed since an earlier step keeps the
    earlier hashes.
    """
    folder = os.path.realpath(path.absolute().parent)
    found: dict[str, dict[str, Any]] = {}
    for spec in specs:
        place = known.get(spec) or place_of(spec) or _here(spec)
        if place is not None:
            at = place.find() or place.paths[0]
            digest = imported_sha256(at) or sha256_of(at) or place.sha256
            values = {
                "near": _relative(at, folder),
                "at": str(at) if absolute else None,
                "sha256": digest,
                "earlier": [
                    each for each in dict.fromkeys([*place.earlier, place.sha256]) if each not in (None, digest)
                ],
            }
            found[spec] = {key: value for key, value in values.items() if value}
    return json.dumps(found, sort_keys=True) if found else None


def places_of(metadata: Mapping[str, str], path: Path) -> Places:
    """Possible places of the files that the checkpoint at `path` names.

    In this order: the recorded path relative to the checkpoint, the absolute path, beside the checkpoint, and as named
    in the working folder. For a code file, one with unchanged content comes first.

    Raises:
        CheckpointError: the record is invalid.
    """
    text = metadata.get(PLACES)
    if text is None:
        return {}
    folder = path.absolute().parent
    try:
        return {spec: _place(spec, values, folder) for spec, values in parsed(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} has a damaged record of places ({error}); use an intact copy") from error


def warn_of_change(model: str, places: Places, path: Path) -> None:
    """Warn if the user's file that builds the network of a checkpoint is no longer the one that was recorded."""
    place = places.get(model)
    if place is not None and place.change() is not None:
        text = f"{place.find()} has changed since {path} was written, so its network may compute something else"
        warnings.warn(text, ChangedCode, stacklevel=2)


def named_in(model: str, data: str, history: Iterable[HistoryEntry]) -> list[str]:
    """Every name of a header that may lead to a file."""
    found = [model, data]
    for entry in history:
        found.append(str((entry.data or {}).get("source") or ""))
        found += plugins_of(entry.command, entry.options).values()
    return found


def _place(spec: str, values: Mapping[str, Any], folder: Path) -> Place:
    """One name of a record. Only its path comes from the record; the name decides what runs."""
    parts = _parts(spec)
    texts = [values[key] for key in ("near", "at") if values.get(key) is not None]
    if parts is None or any("\0" in text for text in texts):
        raise ValueError(f"'{spec}' names no file")
    begin, path, end = parts
    named = Path(path).expanduser()
    if end and any(Path(text).name != named.name for text in texts):
        raise ValueError(f"its file is not the one that '{spec}' names")
    beside = [folder / named.name] if named.name not in ("", "..") else []
    paths = [*(folder / text for text in texts), *beside, named]
    found = tuple(Path(os.path.normpath(each.absolute())) for each in paths)
    return Place(begin, found, end, values.get("sha256"), tuple(map(str, values.get("earlier", ()))))


def _parts(spec: str) -> tuple[str, str, str] | None:
    """The path in a name, with the text before and after it; None for a name without one.

    NAME:PATH of a dataset is tried first, which `check_trusted` does not treat as code.
    """
    name, colon, path = spec.partition(":")
    if colon and name in names("data"):
        return (f"{name}:", path, "") if path else None
    path, _, name = spec.rpartition(":")
    return ("", path, f":{name}") if path.endswith(".py") else None


def _here(spec: str) -> Place | None:
    """The place of a name in the working folder; None if nothing is there.

    The path is absolute, with links in its folder resolved; the last part keeps its name.
    """
    parts = _parts(spec)
    if parts is None:
        return None
    begin, path, end = parts
    whole = Path(os.path.normpath(Path(path).expanduser().absolute()))
    at = Path(os.path.realpath(whole.parent)) / whole.name
    return Place(begin, (at,), end) if exists(at) else None


def _relative(path: Path, folder: str) -> str | None:
    """The relative path from a folder to a path; None if there is none (another drive)."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return None
