"""Progress: a bar on a terminal and in a notebook, else plain lines."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prunectl.checkpoints.escapes import visible
from prunectl.cli import heartbeat, output
from prunectl.cli.terminal import console
from prunectl.cli.verbosity import is_quiet, is_verbose

EVERY, OFTEN = 10.0, 1.0
"""Seconds between two plain lines, without and with --verbose."""
_REFRESH = 0.2


class Bar:
    """A bar that rich draws, or plain lines; `total` None is work of unknown length."""

    def __init__(self, title: str, total: int | None) -> None:
        self.title, self.total = title, total
        self.started = self.shown = time.monotonic()
        self.first: int | None = None
        self.bar: Any = None
        beat = heartbeat.running()
        self.before = None if beat is None else beat.activity
        self.every = OFTEN if is_verbose() else EVERY
        self.quiet = is_quiet()
        if not self.quiet and is_drawn():
            self._start_bar()
        elif not self.quiet:
            self.say_alive("")

    def _start_bar(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.table import Column

        whole, cut = Column(no_wrap=True, min_width=5), Column(no_wrap=True, overflow="ellipsis", ratio=1)
        share = [TextColumn("{task.percentage:>3.0f}%", table_column=whole)] if self.total is not None else []
        clock = TimeElapsedColumn(table_column=whole)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=8),
            *share,
            TextColumn("{task.fields[text]}", markup=False, table_column=cut),  # on a narrow terminal
            clock if self.total is None else TimeRemainingColumn(compact=True, table_column=whole),
        )
        self.bar = Progress(*columns, console=console(sys.stderr), transient=True)
        self.task = self.bar.add_task(visible(self.title), total=self.total, text="")
        self.bar.start()

    def update(self, done: int, fields: Callable[[], str]) -> None:
        """Show that `done` of the total are done."""
        now = time.monotonic()
        if self.first is None:
            self.first = done  # earlier work, which does not count for the speed
        if self.quiet or not self._is_due(now):
            return
        if self.bar:
            self.bar.update(self.task, completed=done, text=visible(fields()))
        else:
            share = "" if self.total is None else f" {100 * done / max(self.total, 1):.0f}%"
            output.say(f"{self.title}{share} {fields()}{self._left(done, now)}")
            self.say_alive(fields())
        self.shown = now

    def begin(self, title: str, total: int) -> None:
        """Continue with other work and a new total."""
        if title == self.title and total == self.total:
            return
        self.title, self.total, self.first = title, total, None
        self.started = self.shown = time.monotonic()
        if self.bar:
            self.shown -= _REFRESH  # the first update is shown at once
            self.bar.reset(self.task, description=visible(title), total=total, text="")
        elif not self.quiet:
            self.say_alive("")

    def step(self, text: str) -> None:
        """Show the current step of work of unknown length."""
        if self.bar:
            self.bar.update(self.task, text=visible(text))
        elif not self.quiet:
            self.say_alive(text)
            if is_verbose():
                output.say(f"{self.title}: {text}")

    def say_alive(self, text: str) -> None:
        """Set the text of the heartbeat."""
        beat = heartbeat.running()
        if beat is not None:
            beat.activity = f"{self.title}: {text or 'working'}"

    def close(self) -> None:
        """Remove the bar, and restore the text of the heartbeat."""
        beat = heartbeat.running()
        if beat is not None and self.before is not None:
            beat.activity = self.before
        if self.bar:
            self.bar.stop()

    def _is_due(self, now: float) -> bool:
        """Whether it is time to show something: at once if the command is known to take longer."""
        if self.bar:
            return now - self.shown >= _REFRESH
        beat = heartbeat.running()
        first = self.shown == self.started and beat is not None and beat.beats > 0
        return first or now - self.shown >= self.every

    def _left(self, done: int, now: float) -> str:
        """The remaining time at the speed so far."""
        begun = self.first or 0
        if self.total is None or done <= begun:
            return ""
        return f", {heartbeat.duration((now - self.started) * (self.total - done) / (done - begun))} left"


def is_drawn() -> bool:
    """Whether rich draws a bar: on a terminal, and in a notebook."""
    if sys.stderr.isatty():
        return True
    if "IPython" not in sys.modules:
        return False
    from rich.console import Console

    return Console(stderr=True).is_jupyter


@contextmanager
def progress_bar(title: str, total: int | None = None) -> Iterator[Bar]:
    """A bar that is removed when the work ends or fails."""
    bar = Bar(title, total)
    try:
        yield bar
    finally:
        bar.close()


@contextmanager
def decoding(spec: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for reading images, which appears with the first report."""
    bars: list[Bar] = []

    def report(done: int, total: int) -> None:
        if not bars:
            bars.append(Bar(f"reading {spec.partition(':')[0]}", total))
        bars[0].update(done, lambda: f"{done}/{total} images")

    try:
        yield report
    finally:
        for bar in bars:
            bar.close()
