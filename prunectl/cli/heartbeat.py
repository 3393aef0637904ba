"""Signs of life if stderr is no terminal: a line soon after the start, then one after every 30 s without output."""

import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TextIO

FIRST, EVERY = 0.8, 30.0
"""Seconds from the start to the first line, and the longest time between two lines."""
_running: "list[Heartbeat]" = []
"""The heartbeat of the started command; commands that it runs in this process have none of their own."""


class Heartbeat:
    """Prints what a command does, in its own thread; `activity` is the text, such as "shrink: proof in float64"."""

    def __init__(self, command: str, stream: TextIO) -> None:
        self.command, self.stream = command, stream
        self.activity = f"{command}: working"
        self.started = self.last = time.monotonic()
        self.beats = 0
        self._ended = False
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prunectl-heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def note(self) -> None:
        """Record that a line was printed."""
        self.last = time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Print nothing while the command waits for the previous one in a pipe, which has its own heartbeat."""
        self.started = self.last = math.inf
        try:
            yield
        finally:
            self.started = self.last = time.monotonic()
            self._woken.set()

    def stop(self) -> None:
        """Stop printing."""
        self._ended = True
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended:
            now = time.monotonic()
            silence = EVERY if self.beats else FIRST
            if now - self.last < silence:  # a line was printed meanwhile
                self._woken.wait(min(max(self.last + silence - now, 0.0), threading.TIMEOUT_MAX))
                self._woken.clear()
                continue
            seconds = now - self.started
            line = f"{self.activity}, {duration(seconds)} so far" if self.beats else f"{self.command}: started"
            self.beats, self.last = self.beats + 1, now
            try:
                print(line, file=self.stream, flush=True)
            except (OSError, ValueError):  # closed
                return


@contextmanager
def beating(command: str, *, silent: bool) -> Iterator[None]:
    """Show signs of life inside the block, unless a terminal shows progress or the command is `silent`."""
    if silent or _running or sys.stderr.isatty():
        yield
        return
    heartbeat = Heartbeat(command, sys.stderr)
    _running.append(heartbeat)
    heartbeat.start()
    try:
        yield
    finally:
        _running.remove(heartbeat)
        heartbeat.stop()


@contextmanager
def waiting() -> Iterator[None]:
    """Show no signs of life while a command waits for its input."""
    beat = running()
    with nullcontext() if beat is None else beat.paused():
        yield


def running() -> Heartbeat | None:
    """The heartbeat of this process, if it has one."""
    return _running[0] if _running else None


def duration(seconds: float) -> str:
    """A time in its two largest units: 45 s, 3 min 10 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
