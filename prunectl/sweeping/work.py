"""The work of one stage, on any machine."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from prunectl.checkpoints.files import sha256
from prunectl.checkpoints.names import beside
from prunectl.checkpoints.opened import opened
from prunectl.errors import FileError
from prunectl.sweeping.stages import Stage
from prunectl.sweeping.state import FOLDER, note


class Ended(Protocol):
    """The outcome of a command: its exit code, and its last line on stderr."""

    @property
    def code(self) -> int:
        """0 if it succeeded."""

    @property
    def last(self) -> str:
        """Why it failed."""


Run = Callable[[Sequence[str], TextIO], Ended]
"""Runs `prunectl ARGUMENTS` in this process; its stderr goes to the text file."""


@dataclass(frozen=True)
class Job:
    """A stage with everything that its work needs, in any process on any machine that sees the folder."""

    stage: Stage
    after: str | None
    """The identity of the stage that must end first: the parent, or another one that measures the same checkpoint."""
    folder: Path
    checkpoint: Path
    """The checkpoint that it writes or measures."""
    reads: Path | None
    begun: bool
    """Whether this stage began in an earlier run."""
    run: Run
    working: Path
    """The folder that names in command lines are relative to."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a stage: `error` is None if it succeeded; `behind` names the failed stage that it waited for."""

    stage: Stage
    error: str | None = None
    behind: str | None = None
    seconds: float = 0.0


def do(job: Job, before: Outcome | None) -> Outcome:
    """Run a stage after the previous one has ended, and record that it is done; a full disk fails only this stage."""
    stage = job.stage
    if before is not None and before.error is not None and (before.stage.makes or before.behind is not None):
        return Outcome(stage, "not run", behind=before.behind or before.stage.name)
    started = time.perf_counter()
    failure = _failure(job)
    seconds = time.perf_counter() - started
    if failure is None:
        try:
            note(job.folder, stage, state="done", sha256=sha256(job.checkpoint), seconds=round(seconds, 3))
        except (FileError, OSError) as error:
            failure = str(error)
    return Outcome(stage, failure, seconds=seconds)


def _failure(job: Job) -> str | None:
    """Run the command of a stage; returns why it failed, or None."""
    stage = job.stage
    try:
        arguments = _arguments(job)
        note(job.folder, stage, state="begun")
        os.chdir(job.working)
        descriptor = opened(job.folder / FOLDER / f"{stage.name}.log")
        os.ftruncate(descriptor, 0)
        stream = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
    except (FileError, OSError) as error:
        return str(error)
    try:
        ended = job.run(arguments, stream)
    except Exception as error:  # noqa: BLE001  (a stage may raise anything; the sweep continues)
        return f"{type(error).__name__}: {error}"
    finally:
        with contextlib.suppress(OSError):  # the text cannot be written on a full disk
            stream.close()
    return (ended.last or f"exit code {ended.code}") if ended.code else None


def _arguments(job: Job) -> list[str]:
    """The whole command line: it resumes a training or an attack that was killed, else starts it."""
    line, path = list(job.stage.arguments), str(job.checkpoint)
    if job.stage.command == "attack":
        paused = job.begun and beside(job.checkpoint, ".attack.part.jsonl").exists()
        return [*line, "--force", *(["--resume"] if paused else []), path]
    if not job.stage.makes:
        return [*line, path]
    half = beside(job.checkpoint, ".resume.safetensors")
    if half.exists() and job.begun:
        return ["train", "--resume", str(half), "-o", path, "--force"]
    half.unlink(missing_ok=True)
    return [*line, "-o", path, "--force", *([] if job.reads is None else [str(job.reads)])]
