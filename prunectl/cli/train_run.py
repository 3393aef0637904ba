"""A training on the command line: watched, logged, stopped by Ctrl-C or the clock, written."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunectl.checkpoints import files
from prunectl.checkpoints.header import beside
from prunectl.cli import options, output, signals
from prunectl.errors import FileError, Interrupted, OptionError

if TYPE_CHECKING:
    from prunectl.cli.tensorboard import Board
    from prunectl.training.trainer import Trainer

PAUSED = ".resume.safetensors"
LOG = ".log.jsonl"
LOG_SO_FAR = ".log.jsonl.part"
"""An earlier log stays in place, beside the earlier checkpoint, until the training that replaces both is done."""
_SAVE_EVERY = 600.0
"""Seconds between two saves of a running training, from which --resume goes on after a crash."""


def check_target(path: Path, *, force: bool) -> None:
    """Refuse to replace a checkpoint or a log."""
    options.target(path, path, "train", force=force)
    files.check_target(beside(path, LOG), force=force)


def refuse_over_paused(path: Path) -> None:
    """Refuse to replace an interrupted training.

    Raises:
        OptionError: one would have written this checkpoint.
    """
    paused = beside(path, PAUSED)
    if paused.exists():
        raise OptionError(
            f"{paused} holds an interrupted training; go on with --resume {paused}, or replace by --force"
        )


@contextmanager
def claimed(path: Path, *, force: bool) -> Iterator[Path]:
    """Keep an output to one training at a time, by the log so far, which it gives; then check the target once more.

    Raises:
        FileError: another training writes there, or has done so by now.
    """
    log = beside(path, LOG_SO_FAR)
    with files.locked(log, f"another training is writing {path}; wait for it, or choose another output with -o"):
        try:
            check_target(path, force=force)
            yield log
        finally:
            if log.exists() and not log.stat().st_size:
                log.unlink()


def run(
    trainer: "Trainer",
    path: Path,
    run: dict[str, Any],
    max_minutes: float | None,
    board_at: Path | None = None,
    *,
    force: bool,
) -> None:
    """Train to the end, or to Ctrl-C or the time limit; write what came of it, and on the way a TensorBoard.

    The path is `claimed`; `run` is what a later --resume has to know. Where another file has come to lie at the path
    by the end, the training is kept for --resume.
    """
    from prunectl.checkpoints import checkpoint
    from prunectl.training import resume

    log, final, paused = (beside(path, suffix) for suffix in (LOG_SO_FAR, LOG, PAUSED))

    def save() -> None:
        resume.write(resume.Paused(trainer.current, trainer.recipe, trainer.state(), run), paused)

    deadline = time.monotonic() + 60 * max_minutes if max_minutes is not None else float("inf")
    saved = begun = time.monotonic()
    first, last, finished = trainer.images, None, True
    with (
        signals.caught() as stopped,
        _board(board_at, trainer.step) as board,
        output.progress_bar("training", trainer.total_steps) as bar,
    ):
        for record in _steps(trainer, log):
            now = time.monotonic()
            if record is not None:
                files.append_record(log, record)
                last = record
            if stopped:  # before anything is shown, whose terminal may be gone
                save()
                raise Interrupted(f"interrupted at step {trainer.step}; go on with: prunectl train --resume {paused}")
            if record is not None:
                if board is not None:
                    board.show(trainer, record)
                if "pruned" in record:
                    output.say(f"pruned {output.pruned(record['pruned'])}")
            bar.update(trainer.step, lambda: _status(trainer, (trainer.images - first) / (time.monotonic() - begun)))
            if now > deadline and trainer.step < trainer.total_steps:
                finished = False
                break
            if record is not None and now - saved > _SAVE_EVERY:  # right after the check that the loss is finite
                save()
                saved = now
    ours = path.exists() and files.sha256(path) == run.get("written")  # left by --max-minutes
    _refuse_what_came(path, save, f"prunectl train --resume {paused} -o OTHER", force=force or ours)
    checkpoint.write(trainer.result(), path)
    if finished:
        paused.unlink(missing_ok=True)
        final.unlink(missing_ok=True)
        if log.stat().st_size:
            log.replace(final)
    else:
        files.write(final, log.read_bytes() if log.exists() else b"")
        run["written"] = files.sha256(path)
        save()
        output.say(f"stopped by --max-minutes at step {trainer.step}; go on with: prunectl train --resume {paused}")
    if last is not None:
        output.say(_summary(last))
    output.emit(path)


def _refuse_what_came(path: Path, save: Callable[[], None], hint: str, *, force: bool) -> None:
    """Save the training in place of replacing what has come to lie at its output since it began.

    Raises:
        FileError: something has.
    """
    try:
        check_target(path, force=force)
    except FileError as error:
        save()
        raise FileError(f"{error}; the training is kept: {hint}") from error


def _steps(trainer: "Trainer", log: Path) -> Iterator[dict[str, Any] | None]:
    """The steps of a training; one that diverges leaves no log."""
    try:
        yield from trainer.steps()
    except OptionError:
        log.unlink(missing_ok=True)
        raise


def _status(trainer: "Trainer", rate: float) -> str:
    """What stands beside a running bar."""
    loss, right = trainer.latest()
    epoch = 1 + (trainer.step - 1) // trainer.steps_per_epoch
    return (
        f"epoch {epoch}/{trainer.recipe.epochs} loss {loss:.3f} accuracy {output.percent(right)} {rate:,.0f} images/s"
    )


def _summary(record: dict[str, Any]) -> str:
    """The last line of the log for a person."""
    evaluated = f", evaluation accuracy {output.percent(record['eval_accuracy'])}" if "eval_accuracy" in record else ""
    return (
        f"train: {output.many(record['step'], 'step')} in {record['seconds']:.1f} s, loss {record['loss']:.4f}, "
        f"training accuracy {output.percent(record['accuracy'])} on the last {output.many(record['images'], 'image')}"
        f"{evaluated}"
    )


@contextmanager
def _board(folder: Path | None, step: int) -> Iterator["Board | None"]:
    """A TensorBoard in a folder, if one was given."""
    if folder is None:
        yield None
        return
    from prunectl.cli.tensorboard import Board

    board = Board(folder, step)
    try:
        yield board
    finally:
        board.close()
