"""train --resume: go on with an interrupted training."""

import os
from dataclasses import asdict, replace
from pathlib import Path

import typer

from prunectl.checkpoints.files import sha256
from prunectl.checkpoints.names import beside
from prunectl.checkpoints.texts import parsed
from prunectl.cli import tensorboard as board
from prunectl.cli import train_run
from prunectl.cli.options import flag_of
from prunectl.errors import OptionError, UntrustedCode
from prunectl.plugins.places import known
from prunectl.plugins.registry import check_trusted
from prunectl.plugins.trust import consented


def refuse_others(ctx: typer.Context) -> None:
    """Refuse options that --resume would ignore, as they are in the resume file."""
    free = {"resume", "data_dir", "device", "output_path", "max_minutes", "force", "config"}
    free |= {"tensorboard", "tensorboard_dir", "download", "trust", "quiet", "verbose"}
    for param in ctx.command.params:
        source = ctx.get_parameter_source(str(param.name))
        if param.name not in free and source is not None and source.name == "COMMANDLINE":
            flag = flag_of(param.opts) if param.opts[0].startswith("-") else "CHECKPOINT"
            raise OptionError(f"--resume goes on as the training began; leave out {flag}")


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
    """Go on with an interrupted training, whose options come from its file unless they are given here.

    Downloads and folders elsewhere are not taken from the file, which may come from a stranger.

    Raises:
        UntrustedCode: the file names code, or a TensorBoard outside its own folder.
    """
    from prunectl.checkpoints.checkpoint import read
    from prunectl.cli.start import images_for
    from prunectl.torchtools.devices import device_named
    from prunectl.training import resume
    from prunectl.training.trainer import Trainer

    paused = resume.read(paused_path)
    began = paused.run
    begun = paused.checkpoint.to(device_named(began.device if device == "auto" else device))
    path = output_path or paused_path.with_name(Path(began.output).name)
    ours = path.exists() and sha256(path) == began.written  # left by --max-minutes
    train_run.check_target(path, force=force or ours)
    elsewhere = beside(path, train_run.PAUSED).absolute() != paused_path.absolute()
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
    before = paused_path.with_name(paused_path.name.removesuffix(train_run.PAUSED) + train_run.LOG_SO_FAR)
    with known(begun.places):
        check_trusted("data", run.data, str(paused_path))
        images = images_for(begun, run.data, _path(run.data_dir), **asdict(run.data_options))
        teacher = None if run.teacher is None else read(Path(run.teacher), begun.device)
        trainer = Trainer(begun, images, paused.recipe, paused.state, teacher=teacher)
        with train_run.claimed(path, force=force or ours) as log:
            if elsewhere and before.exists():
                log.write_bytes(before.read_bytes())
                before.unlink()
            _forget(log, paused.state.values["step"])
            train_run.run(trainer, path, run, limit, shown, force=force)
    if elsewhere:
        paused_path.unlink(missing_ok=True)


def _check_inside(folder: Path, paused: Path) -> None:
    """Refuse to write where a resume file says, outside its own folder.

    Raises:
        UntrustedCode: the file is not trusted.
    """
    if not folder.resolve().is_relative_to(paused.resolve().parent) and not consented():
        raise UntrustedCode(
            f"{paused} would write a TensorBoard to {folder}; repeat --tensorboard-dir {folder}, or give another one"
        )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _forget(log: Path, step: int) -> None:
    """Cut off the records of later steps, which were lost when the training was killed."""
    kept = 0
    for line in log.read_bytes().splitlines(keepends=True):
        if _step_of(line) > step:
            break
        kept += len(line)
    os.truncate(log, kept)


def _step_of(line: bytes) -> float:
    """The step of a log line, infinite if the line is incomplete."""
    try:
        return float(parsed(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return float("inf")
