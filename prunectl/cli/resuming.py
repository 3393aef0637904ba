"""An interrupted training, taken up again on the command line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import typer

from prunectl.cli import options, training
from prunectl.errors import OptionError
from prunectl.files import sha256, write
from prunectl.header import beside
from prunectl.registry import check_trusted


def refuse_others(ctx: typer.Context) -> None:
    """Refuse options that --resume would have to ignore: an interrupted training brings its own."""
    free = {"resume", "data_dir", "device", "output_path", "max_minutes", "force", "config"}
    free |= {"tensorboard", "tensorboard_dir"}
    for param in ctx.command.params:
        source = ctx.get_parameter_source(str(param.name))
        if param.name not in free and source is not None and source.name == "COMMANDLINE":
            flag = max(param.opts, key=len) if param.opts[0].startswith("-") else "CHECKPOINT"
            raise OptionError(f"--resume goes on as the training began; leave out {flag}")


def resumed(
    paused_path: Path,
    data_dir: Path | None,
    device: str,
    output_path: Path | None,
    limit: float | None,
    force: bool,
    board_of: Callable[[Path], Path | None],
) -> None:
    """Go on with an interrupted training; its options come from its file."""
    from prunectl import resume
    from prunectl.checkpoint import device_named
    from prunectl.cli.start import images_for
    from prunectl.train import Trainer

    paused = resume.read(paused_path, device_named(device))
    path = output_path or paused_path.with_name(Path(paused.run["output"]).name)
    ours = path.exists() and sha256(path) == paused.run.get("written")  # left by --max-minutes
    options.target(path, path, "train", force=force or ours)
    check_trusted("data", paused.run["data"], str(paused_path))
    images = images_for(paused.checkpoint, paused.run["data"], data_dir, **paused.run["data_options"])
    trainer = Trainer(paused.checkpoint, images, paused.recipe, paused.state)
    begun = paused_path.with_name(paused_path.name.removesuffix(resume.SUFFIX) + training.LOG_SO_FAR)
    if begun.exists() and begun != beside(path, training.LOG_SO_FAR):
        shutil.move(begun, beside(path, training.LOG_SO_FAR))
    _forget(beside(path, training.LOG_SO_FAR), paused.state.values["step"])
    training.run(trainer, path, {**paused.run, "output": str(path)}, limit, board_of(path))
    if paused_path != beside(path, resume.SUFFIX):
        paused_path.unlink(missing_ok=True)


def _forget(log: Path, step: int) -> None:
    """Drop what a log says of later steps, which a kill undid."""
    if log.exists():
        kept = [line for line in log.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
        write(log, "".join(line + "\n" for line in kept).encode())


def _step_of(line: str) -> float:
    """The step of a log line; one that was cut off comes last."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
