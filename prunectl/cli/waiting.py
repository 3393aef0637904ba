"""Waiting for the step before in a pipe, and loading meanwhile what the command needs."""

import functools
import importlib
import inspect
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TextIO

NICENESS = 10
"""The niceness of the loading, beside the steps that run."""
LATER = {
    "train": ["torch._dynamo"],  # by the first step of an optimiser
    "prune": ["prunectl.checkpoints.checkpoint", "prunectl.pruning.prune"],
    "shrink": ["torch.export._trace"],
    "eval": ["torch.export._trace"],
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
    """The first line of a stream. While none is there, a thread imports what the running command imports.

    All steps of a pipe start at once, and each but the first waits for a path: without this each would begin to load
    torch when the one before has ended. The price is memory, about 300 MB in every step that waits.

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
    import dis  # only a step that waits has the time

    for step in dis.get_instructions(inspect.unwrap(command)):
        if step.opname == "IMPORT_NAME":
            yield str(step.argval)


def _has_line(stream: TextIO) -> bool:
    """Whether a line, or the end, can be read at once; also where that cannot be known."""
    try:
        return bool(select.select([stream], [], [], 0)[0])
    except (OSError, ValueError):  # a stream of Python's own; a pipe on Windows
        return True


def _load(names: list[str], ended: threading.Event) -> None:
    """Import modules at a low priority until none is needed; what fails fails again, and is said, where it is used."""
    if sys.platform == "linux":  # where a priority is that of one thread
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    for name in names:
        if ended.is_set():
            return
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001  (a module may raise anything)
            return
