"""Finds the file behind a name: `net.py:build` and `imagefolder:FOLDER` are relative to some working folder."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from prunectl.errors import UnknownName


@dataclass(frozen=True)
class Place:
    """Possible paths of the file or folder of a name, the likeliest first; `begin` and `end` surround it in the name.

    `sha256` is the hash of a code file when the name was recorded: if several paths exist, the one with this content is
    used. `earlier` are its hashes when earlier steps were recorded.
    """

    begin: str
    paths: tuple[Path, ...]
    end: str
    sha256: str | None = None
    earlier: tuple[str, ...] = ()

    def find(self) -> Path | None:
        """The first existing path, or None."""
        there = [path for path in self.paths if exists(path)]
        same = [path for path in there if self.sha256 is not None and sha256_of(path) == self.sha256]
        return next(iter(same or there), None)

    def change(self) -> tuple[str, str] | None:
        """Its sha256 when it was recorded, and the current one, if they differ."""
        found = self.find()
        here = None if found is None else sha256_of(found)
        return None if None in (self.sha256, here) or here == self.sha256 else (str(self.sha256), str(here))


Places = Mapping[str, Place]
"""Places by name."""
_KNOWN: ContextVar[Places | None] = ContextVar("places", default=None)


@contextmanager
def known(places: Places) -> Iterator[Places]:
    """Look for these names at the places that a file records, not only in the working folder."""
    token = _KNOWN.set({**(_KNOWN.get() or {}), **places})
    try:
        yield places
    finally:
        _KNOWN.reset(token)


def place_of(spec: str) -> Place | None:
    """The places to search for a name; None for a name that needs no search."""
    return (_KNOWN.get() or {}).get(spec)


def placed(spec: str) -> str:
    """Replace the path in a name by the path where its file was found; a name without a known place stays the same.

    Raises:
        UnknownName: the file is in none of its places.
    """
    place = place_of(spec)
    if place is None:
        return spec
    found = place.find()
    if found is None:
        tried = ", ".join(dict.fromkeys(map(str, place.paths)))
        raise UnknownName(f"cannot find the file of '{spec}': tried {tried}; copy it to one of them")
    return f"{place.begin}{found}{place.end}"


def exists(path: Path) -> bool:
    """Whether a file or folder exists; for a pattern such as `DIR/*.tar`, its folder."""
    plain = next((parent for parent in (path, *path.parents) if not re.search(r"[*?\[{]", str(parent))), path)
    try:
        return plain.exists()
    except (OSError, ValueError):  # too long, or no access
        return False


def sha256_of(path: Path) -> str | None:
    """Hex digest of a code file; None for anything else."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix == ".py" else None
    except OSError:
        return None
