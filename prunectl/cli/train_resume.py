"""train --resume: continues an interrupted training."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from prunectl.checkpoints.files import sha256
from prunectl.checkpoints.journal import Journal
from prunectl.checkpoints.lineage import checkpoints_beside
from prunectl.checkpoints.names import beside, mask_path
from prunectl.checkpoints.options.run import Run
from prunectl.checkpoints.texts import parsed
from prunectl.cli import output, train_run
from prunectl.cli import tensorboard as board
from prunectl.cli.options import flag_of
from prunectl.cli.train_saved import LOG, LOG_SO_FAR, PAUSED
from prunectl.errors import FileError, OptionError, UntrustedCode
from prunectl.plugins.places import known
from prunectl.plugins.registry import check_trusted
from prunectl.plugins.trust import consented

if TYPE_CHECKING:
    from prunectl.training.resume import Paused


def refuse_others(ctx: typer.Context) -> None:
    """Refuse options that --resume would ignore, because the resume file has them."""
    free = {"resume", "data_dir", "device", "output_path", "max_minutes", "force", "config"}
    free |= {"tensorboard", "tensorboard_dir", "download", "trust", "quiet", "verbose"}
    for param in ctx.command.params:
        source = ctx.get_parameter_source(str(param.name))
        if param.name not in free and source is not None and source.name == "COMMANDLINE":
            flag = flag_of(param.opts) if param.opts[0].startswith("-") else "CHECKPOINT"
            raise OptionError(f"--resume keeps the options of the interrupted training; leave out {flag}")


def resumed(
    paused_path: Path,
    data_dir: Path | None,
    device: str,
    output_path: Path | None,
    limit: float | None,
    force: bool,
    download: bool,
    tensorboard: bool,
    tensorboard_dir: Path | None,
) -> None:
    """Continue an interrupted training; options come from its file unless the command line sets them.

    Downloads and outside folders are not taken from the file, which may come from a stranger.

    Raises:
        UntrustedCode: the file names code, or a TensorBoard outside its own folder.
    """
    from prunectl.checkpoints.checkpoint import read
    from prunectl.cli.start import images_for
    from prunectl.torchtools.devices import device_named
    from prunectl.torchtools.distributed import from_first, leads
    from prunectl.training import resume
    from prunectl.training.trainer import Trainer

    paused = resume.read(paused_path)
    began = paused.run
    begun = paused.checkpoint.to(device_named(began.device if device == "auto" else device))
    path = output_path or paused_path.with_name(Path(began.output).name)
    ours = path.exists() and sha256(path) == began.written  # left by --max-minutes
    if from_first(lambda: not ours and _is_done(path, paused)):  # all have read the file by now; it may be removed
        if leads():
            _finish(path, paused_path)
        return
    train_run.check_target(path, force=force or ours)
    elsewhere = beside(path, PAUSED).absolute() != paused_path.absolute()
    if elsewhere and not force:
        train_run.refuse_over_paused(path)
    if tensorboard_dir is None and began.tensorboard_dir is not None:
        _check_inside(Path(began.tensorboard_dir), paused_path)
    run = replace(
        began,
        output=str(path),
        data_options=replace(began.data_options, download=download),
        data_dir=began.data_dir if data_dir is None else str(data_dir.absolute()),
        tensorboard=began.tensorboard or tensorboard,
        tensorboard_dir=began.tensorboard_dir if tensorboard_dir is None else str(tensorboard_dir.absolute()),
    )
    shown = board.folder(run.tensorboard, _path(run.tensorboard_dir), path)
    if shown is not None:
        board.check_installed()
    before = paused_path.with_name(paused_path.name.removesuffix(PAUSED) + LOG_SO_FAR)
    for place in begun.places.values():
        if place.change() is not None:
            output.say(
                f"{place.find()} has changed since {paused_path} was written; the training continues with the new one"
            )
    with known(begun.places):
        check_trusted("data", run.data, str(paused_path))
        images = images_for(begun, run.data, _path(run.data_dir), **asdict(run.data_options))
        teacher = None if run.teacher is None else read(_teacher(run, paused_path), begun.device)
        trainer = Trainer(begun, images, paused.recipe, paused.state, teacher=teacher, reuse=True)
        paused.state.tensors.clear()  # the training has copies
        if not leads():
            train_run.follow(trainer)
            return
        with train_run.claimed(path, force=force or ours) as log:
            if elsewhere and before.is_file():
                log.begin(before.read_bytes().splitlines(keepends=True))
                before.unlink()
            _forget(log, paused.state.values["step"])
            train_run.run(trainer, path, run, limit, shown, log=log, force=force)
    if elsewhere:
        paused_path.unlink(missing_ok=True)


def _is_done(path: Path, paused: "Paused") -> bool:
    """Whether the output is the result of this training, which was killed right after writing it."""
    from prunectl.checkpoints.header import read_header
    from prunectl.checkpoints.options.values import recorded

    try:
        history = read_header(path)[0].history
    except FileError:
        return False
    before = paused.checkpoint.history[: paused.state.values["entries"]]
    if len(history) != len(before) + 1 or history[:-1] != before:
        return False
    last, recipe = history[-1], recorded(replace(paused.recipe, prune=None))
    steps = last.options.get("steps")
    return (
        (last.command, last.parent) == ("train", paused.checkpoint.sha256)
        and steps is not None
        and steps == last.options.get("total_steps")
        and all(last.options.get(key) == value for key, value in recipe.items() if key != "augment")
    )


def _finish(path: Path, paused: Path) -> None:
    """Finish the end of a training that a kill interrupted."""
    from prunectl.checkpoints.header import read_header, settle

    so_far = beside(path, LOG_SO_FAR)
    if so_far.is_file():
        so_far.replace(beside(path, LOG))
    settle(path)
    if read_header(path)[0].pair is None:
        mask_path(path).unlink(missing_ok=True)  # of the checkpoint that this training replaced
    paused.unlink()
    output.say(f"train: {path} was already complete; removed its resume file")
    output.emit(path)


def _check_inside(folder: Path, paused: Path) -> None:
    """Refuse to write outside the folder of a resume file because that file says so.

    Raises:
        UntrustedCode: the file is not trusted.
    """
    if not folder.resolve().is_relative_to(paused.resolve().parent) and not consented():
        raise UntrustedCode(
            f"{paused} would write a TensorBoard to {folder}; pass --tensorboard-dir {folder}, or another one"
        )


def _teacher(run: Run, paused: Path) -> Path:
    """The teacher's current path: the old one, else found by its hash in the folder of the resume file.

    Raises:
        FileError: it is in neither place.
    """
    was = Path(str(run.teacher))
    if run.teacher_sha256 is None:  # a file of an earlier version
        beside_it = paused.parent / was.name
        return beside_it if not was.exists() and beside_it.exists() else was
    if was.is_file() and sha256(was) == run.teacher_sha256:
        return was
    found = checkpoints_beside(paused).get(run.teacher_sha256)
    if found is None:
        raise FileError(
            f"{paused} needs its teacher, the checkpoint with sha256 {run.teacher_sha256[:12]}...: looked for it at "
            f"{was} and in {paused.parent}; copy it there"
        )
    return found


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _forget(log: Journal, step: int) -> None:
    """Remove the records of later steps, which were lost when the training was killed."""
    later = (i for i, line in enumerate(log.lines) if _step_of(line) > step)
    log.keep(next(later, len(log.lines)))


def _step_of(line: bytes) -> float:
    """The step of a log line, infinite if the line is incomplete."""
    try:
        return float(parsed(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return float("inf")
