"""Makes temporary files beside their targets, and removes those that dead processes have left."""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_NAME = re.compile(r"\.(?P<of>.+)\.(?P<pid>\d{1,10})-(?P<host>[0-9a-f]{8})?[0-9a-f]{8}")
_ELSEWHERE_S = 24 * 3600.0
"""Seconds without a change after which another machine's file is a leftover: its processes are invisible here."""
_ROUNDING_S = 2.0


def temporary(path: Path) -> Path:
    """A new hidden name beside `path` that identifies the writer: .NAME.PID-HOSTRANDOM."""
    return path.with_name(f".{path.name}.{os.getpid()}-{_host()}{secrets.token_hex(4)}")


@contextlib.contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder that is removed at the end; those that a kill left in `parent` are removed first.

    Raises:
        OSError: it cannot be created.
    """
    remove_leftovers(parent, name)
    folder = temporary(parent / name)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(folder: Path, name: str) -> None:
    """Remove temporary files and folders in `folder` whose writer is gone.

    Names of earlier versions, .NAME.PID-HEX, have no machine: they are removed only if they belong to the file `name`.
    """
    try:
        with os.scandir(folder) as entries:
            found = [(entry, match) for entry in entries if (match := _NAME.fullmatch(entry.name)) is not None]
    except OSError:
        return
    for entry, match in found:
        if match["host"] is None and match["of"] != name:
            continue
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            if own and _is_left(int(match["pid"]), match["host"], _last_change(entry, status)):
                _remove(entry, status)


def _remove(entry: os.DirEntry[str], status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        Path(entry.path).unlink()


def _last_change(entry: os.DirEntry[str], status: os.stat_result) -> float:
    """When a file, or anything directly in a folder, was last written."""
    if not stat.S_ISDIR(status.st_mode):
        return status.st_mtime
    with os.scandir(entry.path) as inside:
        return max([status.st_mtime, *(each.stat(follow_symlinks=False).st_mtime for each in inside)])


def _is_left(pid: int, host: str | None, changed: float) -> bool:
    """Whether the writer of a file is gone: dead on this machine, or silent for long on another one."""
    if host not in (None, _host()):
        return time.time() - changed > _ELSEWHERE_S
    if os.name != "posix":  # there, os.kill would end the process
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # another user's process
        pass
    began = _began(pid)
    return began is not None and began > changed + _ROUNDING_S  # the number was reused


def _began(pid: int) -> float | None:
    """When a process began, in seconds since 1970; infinite for a zombie, None if unknown."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except (OSError, ValueError, StopIteration):
        return None
    if state in "ZX":
        return float("inf")
    return int(boot.split()[1]) + int(rest[18]) / os.sysconf("SC_CLK_TCK")  # proc(5): fields 3 and 22 of stat


@cache
def _host() -> str:
    """Eight digits for this machine or container: a process number means nothing elsewhere."""
    import platform  # noqa: PLC0415  (every command starts with this module)

    try:
        numbers = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  (no path)
    except OSError:
        numbers = ""
    return hashlib.sha256(f"{platform.node()}\0{numbers}".encode()).hexdigest()[:8]
