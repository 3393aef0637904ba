"""The files of a running training: its log, and the save for --resume."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunectl.checkpoints import files
from prunectl.checkpoints.header import read_header
from prunectl.checkpoints.journal import Journal
from prunectl.checkpoints.names import beside
from prunectl.checkpoints.texts import parsed
from prunectl.cli import kept, output
from prunectl.errors import FileError, Interrupted, NotWritten, PrunectlError

if TYPE_CHECKING:
    from prunectl.checkpoints.options.run import Run
    from prunectl.training.trainer import Trainer

PAUSED = ".resume.safetensors"
LOG = ".log.jsonl"
LOG_SO_FAR = ".log.jsonl.part"
"""The log of a running training: an earlier log stays until the training that replaces it is complete."""


def finish_log(output: Path) -> None:
    """Rename the log of a training that a kill ended once its checkpoint was in place; an empty log goes."""
    so_far, final = beside(output, LOG_SO_FAR), beside(output, LOG)
    if not (output.is_file() and so_far.is_file()) or beside(output, PAUSED).exists():
        return
    with contextlib.suppress(FileError, OSError, ValueError):  # another process has it, or one of both is damaged
        log = Journal(so_far, taken=f"another process has {so_far}")
        try:
            if log.lines and not final.exists() and _last_step(log) == _steps_of(output):
                log.move(final)
        finally:
            log.close()


def _last_step(log: Journal) -> object:
    record = parsed(log.lines[-1])
    return record.get("step") if isinstance(record, dict) else None


def _steps_of(checkpoint: Path) -> object:
    """How many steps the training took that wrote a checkpoint; -1 for what was not trained last."""
    last = read_header(checkpoint)[0].history[-1]
    return last.options.get("steps") if last.command == "train" else -1


class Saved:
    """The files of a running training. A full or missing disk does not end the training."""

    def __init__(self, trainer: "Trainer", run: "Run", output_path: Path, log: Journal, *, force: bool) -> None:
        self.trainer, self.run, self.output, self.log, self.force = trainer, run, output_path, log, force
        self.path = beside(output_path, PAUSED)
        self._warned = False

    def note(self, record: dict[str, Any]) -> None:
        """Add a record to the log, now or once it can be written again."""
        try:
            self.log.add(record)
            self._warned = False
        except FileError as error:
            if not self._warned:
                output.warn(f"{error}; the training continues, and its log is written once there is room")
            self._warned = True

    def save(self, **changes: Any) -> None:
        """Save the training for --resume.

        Raises:
            NotWritten: it could not be saved there; it may be in a folder of $TMPDIR.
        """
        kept.written(self.path, lambda place: self._write(place, **changes))

    def save_if_possible(self, again: float) -> None:
        """Save the training for --resume; if that fails, an earlier save stays; the next is due in `again` seconds."""
        try:
            self.path.absolute().parent.mkdir(parents=True, exist_ok=True)
            self._write(self.path)
        except (PrunectlError, OSError) as error:
            output.warn(f"{error}; the training continues; the next save is in {again / 60:.0f} minutes")

    def interrupted(self) -> Interrupted:
        """Save the training; returns the error to raise."""
        where = f"interrupted at step {self.trainer.step}"
        try:
            self.save()
        except NotWritten as error:
            return Interrupted(f"{where}; {error}{self.way_back(error)}")
        return Interrupted(f"{where}; continue with: prunectl train --resume {self.path}")

    def way_back(self, error: NotWritten) -> str:
        """A text on how to continue if a file could not be written: with the saved training, or an earlier save."""
        force = " --force" if self.force or self.path.exists() else ""
        if error.kept is not None and error.kept.name == self.path.name:
            return f"; continue with: prunectl train --resume {error.kept} -o {self.output}{force}"
        if error.kept is None and self.path.exists():
            return f"; an earlier save remains: prunectl train --resume {self.path}{' --force' if self.force else ''}"
        return ""

    def left_by_time_limit(self) -> bool:
        """Whether --max-minutes of this training wrote the output file."""
        return self.output.exists() and files.sha256(self.output) == self.run.written

    def end(self, *, finished: bool) -> None:
        """After the checkpoint is written: rename the log, and keep a resume file only if steps remain.

        Raises:
            NotWritten: the save for continuing after a time limit could not be written.
        """
        final = beside(self.output, LOG)
        try:
            if finished and self.log.lines:
                self.log.move(final)
            elif finished:
                for left in (final, self.log.path):  # from an earlier training that was replaced or killed
                    left.unlink(missing_ok=True)
            else:
                files.write(final, b"".join(self.log.lines))
        except (FileError, OSError) as error:
            output.warn(f"{error}; the log so far is {self.log.path}")
        if finished:
            self.path.unlink(missing_ok=True)
            return
        self.save(written=files.sha256(self.output))

    def _write(self, place: Path, **changes: Any) -> None:
        from prunectl.training import resume

        trainer = self.trainer
        now = replace(self.run, **changes)
        resume.write(resume.Paused(trainer.current, trainer.recipe, trainer.state(live=True), now), place)
