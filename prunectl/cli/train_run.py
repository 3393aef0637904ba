"""A training on the command line: progress, log, Ctrl-C and time limit, output."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunectl.checkpoints import files
from prunectl.checkpoints.names import beside
from prunectl.cli import options, output, progress, signals
from prunectl.cli.epoch_means import EpochMeans
from prunectl.errors import DivergedError, FileError, Interrupted, OptionError

if TYPE_CHECKING:
    from prunectl.checkpoints.options.run import Run
    from prunectl.cli.tensorboard import Board
    from prunectl.training.trainer import Trainer

PAUSED = ".resume.safetensors"
LOG = ".log.jsonl"
LOG_SO_FAR = ".log.jsonl.part"
"""The log of a training that is not done: an earlier log stays until the training that replaces it is complete."""
_SAVE_EVERY = 600.0
"""Seconds between two saves of a running training, so that --resume works after a crash too."""


def check_target(path: Path, *, force: bool) -> None:
    """Refuse to replace a checkpoint or a log."""
    options.target(path, path, "train", force=force)
    files.check_target(beside(path, LOG), force=force)


def refuse_over_paused(path: Path) -> None:
    """Refuse to replace an interrupted training of the same output.

    Raises:
        OptionError: there is one.
    """
    paused = beside(path, PAUSED)
    if paused.exists():
        raise OptionError(
            f"{paused} holds an interrupted training; go on with --resume {paused}, or replace by --force"
        )


@contextmanager
def claimed(path: Path, *, force: bool) -> Iterator[Path]:
    """Lock an output for one training, check once more that it can be written, and yield the log so far.

    Raises:
        FileError: another training is writing there, or has written meanwhile.
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
    run: "Run",
    max_minutes: float | None,
    board_at: Path | None = None,
    *,
    force: bool,
) -> None:
    """Train to the end, to Ctrl-C or to the time limit; write the checkpoint, or what --resume needs to go on.

    The path is `claimed`; `run` holds the options that --resume needs. If another program has written to the path
    meanwhile, the training is saved for --resume instead.
    """
    from prunectl.checkpoints import checkpoint
    from prunectl.training import resume

    log, final, paused = (beside(path, suffix) for suffix in (LOG_SO_FAR, LOG, PAUSED))

    def save(**changes: Any) -> None:
        now = replace(run, **changes)
        resume.write(resume.Paused(trainer.current, trainer.recipe, trainer.state(), now), paused)

    deadline = time.monotonic() + 60 * max_minutes if max_minutes is not None else float("inf")
    saved = begun = time.monotonic()
    first, last, finished = trainer.progress.images, None, True
    means: EpochMeans | None = None
    with (
        signals.caught() as stopped,
        _board(board_at, trainer.step) as board,
        progress.progress_bar("training", trainer.total_steps) as bar,
    ):
        for record in _steps(trainer, log):
            now = time.monotonic()
            if record is not None:
                files.append_record(log, record)
                last = record
                means = EpochMeans.of(record, means)
            if stopped:  # before anything is shown, whose terminal may be gone
                save()
                raise Interrupted(f"interrupted at step {trainer.step}; go on with: prunectl train --resume {paused}")
            if record is not None:
                if board is not None:
                    board.show(trainer, record)
                if "pruned" in record:
                    output.say(f"pruned {output.pruned(record['pruned'])}")
            bar.update(
                trainer.step, lambda: _status(trainer, (trainer.progress.images - first) / (time.monotonic() - begun))
            )
            if now > deadline and trainer.step < trainer.total_steps:
                finished = False
                break
            if record is not None and now - saved > _SAVE_EVERY:  # right after the check that the loss is finite
                save()
                saved = now
    ours = path.exists() and files.sha256(path) == run.written  # left by --max-minutes
    _refuse_what_came(path, save, f"prunectl train --resume {paused} -o OTHER", force=force or ours)
    checkpoint.write(trainer.result(), path)
    if finished:
        paused.unlink(missing_ok=True)
        final.unlink(missing_ok=True)
        if log.stat().st_size:
            log.replace(final)
    else:
        files.write(final, log.read_bytes() if log.exists() else b"")
        save(written=files.sha256(path))
        output.say(f"stopped by --max-minutes at step {trainer.step}; go on with: prunectl train --resume {paused}")
    if last is not None and means is not None:
        output.say(_summary(last, means))
    output.emit(path)


def _refuse_what_came(path: Path, save: Callable[[], None], hint: str, *, force: bool) -> None:
    """Refuse to replace a file that was written to the output meanwhile, and save the training for --resume.

    Raises:
        FileError: there is one.
    """
    try:
        check_target(path, force=force)
    except FileError as error:
        save()
        raise FileError(f"{error}; the training is kept: {hint}") from error


def _steps(trainer: "Trainer", log: Path) -> Iterator[dict[str, Any] | None]:
    """The steps of a training; where it diverges, the message names the log so far."""
    try:
        yield from trainer.steps()
    except DivergedError as error:
        if log.exists() and log.stat().st_size:
            raise DivergedError(f"{error}; the log up to there is {log}") from error
        raise


def _status(trainer: "Trainer", rate: float) -> str:
    """The text beside a progress bar."""
    loss, right = trainer.progress.latest()
    epoch = 1 + (trainer.step - 1) // trainer.steps_per_epoch
    return (
        f"epoch {epoch}/{trainer.recipe.epochs}, loss {loss:.3f}, accuracy {output.percent(right)}, "
        f"{rate:,.0f} images/s"
    )


def _summary(record: dict[str, Any], means: EpochMeans) -> str:
    """The last log record as a sentence, with the means of the last epoch."""
    evaluated = f", evaluation accuracy {output.percent(record['eval_accuracy'])}" if "eval_accuracy" in record else ""
    return (
        f"train: {output.many(record['step'], 'step')} in {record['seconds']:.1f} s; epoch {means.epoch}: "
        f"loss {means.loss:.4f}, training accuracy {output.percent(means.accuracy)}{evaluated}"
    )


@contextmanager
def _board(folder: Path | None, step: int) -> Iterator["Board | None"]:
    """A TensorBoard in this folder, if any."""
    if folder is None:
        yield None
        return
    from prunectl.cli.tensorboard import Board

    board = Board(folder, step)
    try:
        yield board
    finally:
        board.close()
