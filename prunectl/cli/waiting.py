"""Waits for the previous command in a pipe, and loads meanwhile what the command needs."""

import functools
import importlib
import inspect
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TextIO

LEAST_NICE, NICER, NICEST = 4, 3, 19
"""The niceness of loading beside running commands: what the next command in the pipe needs is loaded first."""
LATER = {
    "train": ["torch._dynamo"],  # imported by the first optimiser step
    "prune": ["prunectl.checkpoints.checkpoint", "prunectl.pruning.prune"],
    "shrink": ["torch.export._trace"],
    "attack": ["prunectl.robustness.attack"],
}
"""Modules that commands nearly always load, in nested calls."""
_running: ContextVar[tuple[str, Callable[..., None]] | None] = ContextVar("running", default=None)


def loading_ahead(name: str, command: Callable[..., None]) -> Callable[..., None]:
    """A command whose modules `line_of` can load."""

    @functools.wraps(command)
    def run(**parameters: object) -> None:
        before = _running.set((name, command))
        try:
            command(**parameters)
        finally:
            _running.reset(before)

    return run


def line_of(stream: TextIO) -> str:
    """The first line of a stream. While waiting, a thread imports the modules of the running command.

    All commands of a pipe start at once, and each except the first waits for a path: without this, each would begin to
    load torch only when the previous one has ended. The price is memory, about 300 MB in every waiting command.

    Raises:
        UnicodeDecodeError: the line is not text.
    """
    running = _running.get()
    if running is None or _has_line(stream):
        return stream.readline()
    name, command = running
    names = [*imported_by(command), *LATER.get(name, [])]
    ended = threading.Event()
    thread = threading.Thread(target=_load, args=(names, ended))
    thread.start()
    line = ""
    try:
        line = stream.readline()
    finally:
        if not line.strip():
            ended.set()
        thread.join()
    return line


def imported_by(command: Callable[..., None]) -> Iterator[str]:
    """The modules that a function imports when it runs, in order."""
    import dis  # only a waiting command has the time

    for step in dis.get_instructions(inspect.unwrap(command)):
        if step.opname == "IMPORT_NAME":
            yield str(step.argval)


def _has_line(stream: TextIO) -> bool:
    """Whether a line, or the end, can be read at once; True if unknown."""
    try:
        return bool(select.select([stream], [], [], 0)[0])
    except (OSError, ValueError):  # a stream of Python's own; a pipe on Windows
        return True


def _load(names: list[str], ended: threading.Event) -> None:
    """Import modules at a low priority until `ended`; failures are reported later, where the module is used."""
    if sys.platform == "linux":  # there, each thread has its own priority
        thread = threading.get_native_id()
        niceness = min(LEAST_NICE + NICER * commands_before(), NICEST)
        # under `nice`, a lower value would be refused
        os.setpriority(os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread)))
    for name in names:
        if ended.is_set():
            return
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001  (a module may raise anything)
            return


def commands_before() -> int:
    """How many running commands of prunectl come before this one in its pipe: a shell starts them in order.

    0 where the system does not list its processes.
    """
    own, group = os.getpid(), os.getpgrp()
    earlier = (entry for entry in Path("/proc").glob("[0-9]*") if int(entry.name) < own)
    return sum(_is_prunectl(entry, group) for entry in earlier)


def _is_prunectl(process: Path, group: int) -> bool:
    """Whether a process runs prunectl in this group of processes."""
    try:
        return os.getpgid(int(process.name)) == group and b"prunectl" in (process / "cmdline").read_bytes()
    except OSError:  # it has ended
        return False
