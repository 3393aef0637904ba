"""Runs a training on the command line: progress, log, Ctrl-C and time limit, output."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunectl.checkpoints import files
from prunectl.checkpoints.journal import Journal
from prunectl.checkpoints.names import beside
from prunectl.cli import kept, options, output, progress, signals, train_space
from prunectl.cli.epoch_means import EpochMeans
from prunectl.cli.train_saved import LOG, LOG_SO_FAR, PAUSED, Saved, finish_log
from prunectl.errors import DivergedError, FileError, Interrupted, NotWritten, OptionError

if TYPE_CHECKING:
    from torch import nn

    from prunectl.checkpoints.options.run import Run
    from prunectl.cli.tensorboard import Board
    from prunectl.training.trainer import Trainer

_SAVE_EVERY = 600.0
"""Seconds between two saves of a running training, so that --resume also works after a crash."""
_MOST_LAG = 0.05
"""The share of old BatchNorm statistics above which a hint is printed: up to 28 steps with a momentum of 0.1."""
_LATE, _STOPPED = 1, 2
"""Reasons to end a training early: the time limit, a signal."""


def check_target(path: Path, *, force: bool) -> None:
    """Refuse to replace a checkpoint or a log."""
    if not force:
        finish_log(path)
    options.target(path, path, "train", force=force)
    files.check_target(beside(path, LOG), force=force)


def refuse_over_paused(path: Path) -> None:
    """Refuse to replace an interrupted training of the same output.

    Raises:
        OptionError: there is an interrupted training.
    """
    paused = beside(path, PAUSED)
    if paused.exists():
        raise OptionError(
            f"{paused} holds an interrupted training; continue with --resume {paused}, or replace it with --force"
        )


@contextmanager
def claimed(path: Path, *, force: bool) -> Iterator[Journal]:
    """Lock an output for one training, check again that it can be written, and yield the log so far.

    Raises:
        FileError: another training is writing there, or has just written there.
    """
    taken = f"another training is writing {path}; wait for it, or choose another output with -o"
    log = Journal(beside(path, LOG_SO_FAR), taken)
    try:
        check_target(path, force=force)
        yield log
    finally:
        log.close()


def say_augmentation(trainer: "Trainer") -> None:
    """Print the augmentation that a dataset has by default: it changes what is learned."""
    if trainer.recipe.augment is None and trainer.augment:
        names = ", ".join(trainer.augment)
        output.say(f"augmentation: {names} (default of {trainer.data.name}; --augment none turns it off)")


def follow(trainer: "Trainer") -> None:
    """Take part in a training that the first process watches, saves and writes.

    Raises:
        Interrupted: Ctrl-C; the first process has saved the training.
    """
    from prunectl.torchtools.distributed import Vote, wait_for_all

    vote = Vote()
    with signals.caught() as stopped:
        for _ in trainer.steps():
            ends = vote(_STOPPED if stopped else 0)
            if ends == _STOPPED:
                wait_for_all()
                raise Interrupted(f"interrupted at step {trainer.step}")
            if ends == _LATE and trainer.step < trainer.total_steps:
                return


def run(
    trainer: "Trainer",
    path: Path,
    run: "Run",
    max_minutes: float | None,
    board_at: Path | None = None,
    *,
    log: Journal,
    force: bool,
) -> None:
    """Train to the end, Ctrl-C or the time limit; write the checkpoint, or a file for --resume.

    The path must be `claimed`; `run` holds the options that --resume needs. If another program has written to the path
    meanwhile, the training is saved for --resume instead.
    """
    from prunectl.checkpoints import checkpoint

    saved = Saved(trainer, run, path, log, force=force)
    train_space.say(trainer, path, saved.path)
    summary, finished = _train(trainer, saved, max_minutes, board_at)
    replaces = force or saved.left_by_time_limit()
    _refuse_what_came(saved, force=replaces)
    result = trainer.result(last=finished)
    try:
        kept.written(path, lambda place: checkpoint.write(result, place, force=replaces or place != path))
    except NotWritten as error:
        raise NotWritten(f"{error}{saved.way_back(error)}", error.kept) from error
    saved.end(finished=finished)
    if not finished:
        output.say(
            f"stopped by --max-minutes at step {trainer.step}; continue with: prunectl train --resume {saved.path}"
        )
    if summary is not None:
        output.say(f"{summary}{_recalibrated(trainer)}")
    if finished:
        _hint_at_recalibration(trainer, result.model)
    output.emit(path)


def _train(
    trainer: "Trainer", saved: Saved, max_minutes: float | None, board_at: Path | None
) -> tuple[str | None, bool]:
    """Train; returns a line about the last log record, and whether all steps are done."""
    from prunectl.torchtools.distributed import Vote, wait_for_all

    deadline = time.monotonic() + 60 * max_minutes if max_minutes is not None else float("inf")
    before = begun = time.monotonic()
    first, summary, finished, vote = trainer.progress.images, None, True, Vote()
    means: EpochMeans | None = None
    with (
        signals.caught() as stopped,
        _board(board_at, trainer.step) as board,
        progress.progress_bar("training", trainer.total_steps) as bar,
    ):
        for record in _steps(trainer, saved.log):
            now = time.monotonic()
            if record is not None:
                saved.note(record)
                means = EpochMeans.of(record, means)
                summary = _summary(record, means)
            ends = vote(_STOPPED if stopped else _LATE if now > deadline else 0)
            if ends == _STOPPED:  # before any output, because the terminal may be gone
                interrupted = saved.interrupted()
                wait_for_all()
                raise interrupted
            if record is not None:
                if board is not None:
                    board.show(trainer, record)
                if "pruned" in record:
                    output.say(f"pruned {output.pruned(record['pruned'])}")
            bar.update(
                trainer.step, lambda: _status(trainer, (trainer.progress.images - first) / (time.monotonic() - begun))
            )
            if ends == _LATE and trainer.step < trainer.total_steps:
                finished = False
                break
            if record is not None and now - before > _SAVE_EVERY:  # right after the check that the loss is finite
                saved.save_if_possible(_SAVE_EVERY)
                before = now
    return summary, finished


def _refuse_what_came(saved: Saved, *, force: bool) -> None:
    """Refuse to replace a file that was written to the output meanwhile, and save the training for --resume.

    Raises:
        FileError: there is such a file.
    """
    path = saved.output
    if not path.absolute().parent.is_dir():  # it will be created again
        return
    try:
        check_target(path, force=force)
    except FileError as error:
        saved.save()
        raise FileError(f"{error}; the training is saved: prunectl train --resume {saved.path} -o OTHER") from error


def _steps(trainer: "Trainer", log: Journal) -> Iterator[dict[str, Any] | None]:
    """The steps of a training; if it diverges, the message names the log."""
    try:
        yield from trainer.steps()
    except DivergedError as error:
        if log.lines:
            raise DivergedError(f"{error}; see the log {log.path}") from error
        raise


def _status(trainer: "Trainer", rate: float) -> str:
    """The text beside a progress bar."""
    loss, right = trainer.progress.latest()
    epoch = 1 + (trainer.step - 1) // trainer.steps_per_epoch
    return (
        f"epoch {epoch}/{trainer.recipe.epochs}, loss {loss:.3f}, accuracy {output.percent(right)}, "
        f"{rate:,.0f} images/s"
    )


def _recalibrated(trainer: "Trainer") -> str:
    """The accuracy of the written network, if that is not the training's."""
    found = trainer.recalibrated
    return "" if found is None else f"; recalibrated: {output.percent(found.top1)}"


def _hint_at_recalibration(trainer: "Trainer", model: "nn.Module") -> None:
    """Print a hint if a training was too short for BatchNorm's running statistics."""
    from prunectl.training.lag import lag

    old = lag(model, trainer.step) if trainer.step and not trainer.recipe.recalibrate else 0.0
    if old > _MOST_LAG:
        output.say(
            f"hint: after {output.many(trainer.step, 'step')}, {old:.0%} of BatchNorm's running statistics is "
            "from before the training; --recalibrate estimates them again"
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
