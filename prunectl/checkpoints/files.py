"""Writes files completely or not at all: beside their target, synced, then renamed onto it."""

import contextlib
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prunectl.checkpoints.folder_lock import folder_locked
from prunectl.checkpoints.opened import append, lock, opened
from prunectl.errors import FileError
from prunectl.torchtools.temporaries import remove_leftovers, temporary

PLACES = "prunectl.places"
"""The metadata key for the places of the files that a header names."""
_BEGIN = b'{"__metadata__":{'
_PLACED = _BEGIN + b'"prunectl.places":'
_PAIR = re.compile(r"[0-9a-f]{16}")
_LONGEST = 1 << 27
"""Most bytes of a header."""
Content = bytes | Iterable[bytes | memoryview]
"""The bytes of a file, whole or part by part."""


def check_target(path: Path, *, force: bool, otherwise: str = "choose another output with -o") -> None:
    """Refuse a target that cannot or must not be written, before any work is done; `otherwise` says what to do.

    Raises:
        FileError: it exists and `force` is False, it is not a regular file, or its folder cannot be written.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        pass
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}; {otherwise}") from error
    else:
        if not stat.S_ISREG(mode):
            raise FileError(f"cannot write {path}: it is not a regular file; {otherwise}")
        if not force:
            remove_leftovers(path.absolute().parent, path.name)  # of a writer that was killed after the rename
            raise FileError(f"{path} exists; {otherwise}, or replace it with `force`")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileError(f"cannot write {path}: no folder {folder}; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FileError(f"cannot write {path}: folder {folder} is not writable; {otherwise}")


def write(path: Path, data: Content, *, force: bool = True) -> None:
    """Write `data` to `path` in one step: even after a kill, either the earlier or the new file is there, complete.

    Without `force` the file must be new: the second of two writers fails. Leftovers of killed writers are removed.

    Raises:
        FileError: it cannot be written (disk full, no permission); an earlier file is untouched.
    """
    beside = None
    try:
        beside = _write_beside(path, data)
        _take_name(beside, path, force=force)
        _sync_folder(path)
    except FileExistsError as error:
        raise FileError(f"{path} exists: another program has just written it; nothing was changed") from error
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}; nothing was changed") from error
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)


def write_pair(
    path: Path, data: Content, sidecar: Path, sidecar_data: Content | None, pair: str | None, *, force: bool = True
) -> None:
    """Write a file and its sidecar so that a reader always finds two that belong together.

    The new sidecar is written to `pending_sidecar(sidecar, pair)`, then the file is renamed onto its target, and only
    then the sidecar. `sidecar_data` None removes an earlier sidecar instead. Pending sidecars of killed writers are
    removed.

    Raises:
        FileError: as `write`.
    """
    pending, waits = None, False
    try:
        with folder_locked(path.absolute().parent) as alone:
            if sidecar_data is not None and pair is not None:
                pending = pending_sidecar(sidecar, pair)
                waits = pending.exists()  # left by a kill; it may belong to the current file
                write(pending, sidecar_data)
            try:
                write(path, data, force=force)
            except FileError:
                if pending is not None and not waits:
                    pending.unlink(missing_ok=True)
                raise
            if pending is not None:
                pending.replace(sidecar)
            else:
                sidecar.unlink(missing_ok=True)
            for left in _pending(sidecar) if alone else ():
                left.unlink(missing_ok=True)
            _sync_folder(path)
    except OSError as error:
        raise FileError(f"cannot write {sidecar}: {error.strerror or error}") from error


def pending_sidecar(sidecar: Path, pair: str) -> Path:
    """The path of a sidecar until its file is in place."""
    return sidecar.with_name(f"{sidecar.name}.{pair}")


def with_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file, or its beginning, with these texts added to its metadata, sorted by key.

    The library itself writes several texts in random order.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    head = json.loads(data[8:start])
    texts = {**head.pop("__metadata__", {}), **metadata}
    text = json.dumps({"__metadata__": dict(sorted(texts.items())), **head}, separators=(",", ":")).encode()
    return begun(text) + data[start:]


def with_places(data: bytes, text: str) -> bytes:
    """A safetensors file, or its beginning, with `text` as its first metadata, under `PLACES`; `sha256` skips it."""
    start = 8 + int.from_bytes(data[:8], "little")
    head = data[8:start].rstrip(b" ")
    assert head.startswith(_BEGIN + b'"')
    return begun(_PLACED + json.dumps(text).encode() + b"," + head[len(_BEGIN) :]) + data[start:]


def begun(head: bytes) -> bytes:
    """The beginning of a file: the header's length and the header, padded so that tensors start at a multiple of 8."""
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head


def append_record(path: Path, record: Mapping[str, Any]) -> str:
    """Append one JSON record to a log, and return its line.

    A line that a kill cut off is ended first, so that the new record gets its own line.

    Raises:
        FileError: it cannot be written.
    """
    line = json_line(record)
    descriptor = opened(path)
    try:
        size = os.fstat(descriptor).st_size
        os.lseek(descriptor, max(size - 1, 0), os.SEEK_SET)
        cut_off = os.read(descriptor, 1) not in (b"", b"\n")
        append(descriptor, (b"\n" if cut_off else b"") + line.encode() + b"\n")
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return line


def json_line(record: Mapping[str, Any]) -> str:
    """A record as JSON in one line; a number that is not finite becomes null."""
    return json.dumps(_finite(record), allow_nan=False)


def _finite(value: Any) -> Any:
    """The same value, with None for numbers that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


@contextlib.contextmanager
def locked(path: Path, taken: str) -> Iterator[None]:
    """Hold a lock on a file, created if need be; a kill frees it. Systems without such locks hold none.

    Raises:
        FileError: another process holds it (with the message `taken`), or the file cannot be opened.
    """
    descriptor = opened(path)
    try:
        if not lock(descriptor):
            raise FileError(taken)
        yield
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes without recorded places, so that the same commands agree in any folder."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = file.read(length) if length <= _LONGEST else b""
        plain = _without_places(head)
        if plain is None:
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()
        found = hashlib.sha256(begun(plain))
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def _without_places(head: bytes) -> bytes | None:
    """The header without the text of `with_places`; None if there is none."""
    if not head.startswith(_PLACED):
        return None
    rest = head[len(_PLACED) :].decode(errors="replace")
    try:
        _, end = json.JSONDecoder().raw_decode(rest)
    except ValueError:
        return None
    return _BEGIN + rest[end + 1 :].rstrip(" ").encode()


def _write_beside(path: Path, data: Content) -> Path:
    """Write and sync a temporary file in the folder of `path`, with the permissions of the umask."""
    remove_leftovers(path.absolute().parent, path.name)
    beside = temporary(path)
    new = beside.open("xb")
    try:
        with new as file:
            for part in (data,) if isinstance(data, bytes) else data:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:  # Ctrl-C too
        beside.unlink(missing_ok=True)
        raise
    return beside


def _take_name(beside: Path, path: Path, *, force: bool) -> None:
    """Rename a complete file to its target, which must be free unless `force` is set.

    Raises:
        FileExistsError: the name is taken.
    """
    if force:
        beside.replace(path)
        return
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links (FAT)
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        beside.replace(path)


def _pending(sidecar: Path) -> list[Path]:
    """The pending sidecars of a file."""
    start = f"{sidecar.name}."
    found = [name for name in os.listdir(sidecar.parent) if name.startswith(start)]  # noqa: PTH208  (few calls)
    return [sidecar.with_name(name) for name in found if _PAIR.fullmatch(name, len(start))]


def _sync_folder(path: Path) -> None:
    """Make a rename durable, if the file system can sync folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
