"""prunectl train."""

import json
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunectl.cli import options, output
from prunectl.cli.options import completes
from prunectl.errors import Interrupted, OptionError
from prunectl.files import sha256, write
from prunectl.header import beside
from prunectl.registry import check, check_trusted

if TYPE_CHECKING:
    from prunectl.train import Trainer

_LOG_SO_FAR = ".log.jsonl.part"
"""An earlier log stays in place, beside the earlier checkpoint, until the training that replaces both is done."""
_SAVE_EVERY = 600.0
"""Seconds between two saves of a running training, from which --resume goes on after a crash."""


def command(
    ctx: typer.Context,
    checkpoint: options.CheckpointArgument = None,
    model: options.Model = None,
    model_options: options.ModelOptions = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    download: options.Download = False,
    tuning: options.Tuning = False,
    subset: options.Subset = None,
    random_labels: options.RandomLabels = False,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.", min=0)] = 10,
    batch_size: options.BatchSize = 128,
    opt: Annotated[str, typer.Option(help="The optimiser.", autocompletion=completes("optimizer"))] = "adam",
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 2e-3,
    wd: Annotated[float, typer.Option(help="Weight decay.")] = 5e-5,
    momentum: Annotated[float, typer.Option(help="Of sgd (Nesterov) and rmsprop.")] = 0.9,
    sched: Annotated[str, typer.Option(help="Learning-rate schedule: constant, cosine or onecycle.")] = "constant",
    clip: Annotated[float | None, typer.Option(help="Clip the gradient's norm.")] = None,
    noise: Annotated[float, typer.Option(help="Standard deviation of noise on gradients.")] = 0.0,
    reg: Annotated[
        str | None, typer.Option(help="Regulariser: l1 or lp (-O p=0.5).", autocompletion=completes("regularizer"))
    ] = None,
    reg_weight: Annotated[float, typer.Option(help="Its factor in the loss.")] = 1e-5,
    plugin_options: options.PluginOptions = None,
    label_smoothing: Annotated[float, typer.Option(help="Share of the target given to all classes.")] = 0.0,
    ema: Annotated[float | None, typer.Option(help="Decay of averaged weights, which become the result.")] = None,
    augment: Annotated[
        str | None, typer.Option(help="none, flip, crop or flip,crop  [default: the dataset's]", show_default=False)
    ] = None,
    amp: Annotated[
        bool | None, typer.Option("--amp/--no-amp", help="bfloat16 autocast  [default: on cuda]", show_default=False)
    ] = None,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the training step with torch.compile.")] = False,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this time, and keep what was learnt.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with an interrupted training (NAME.resume.safetensors).")
    ] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    output_path: options.Output = None,
    force: options.Force = False,
    config: options.Config = None,
) -> None:
    """Train a network: a fresh one (--model), or that of a checkpoint, its pruned weights held at zero.

    Beside the checkpoint stands NAME.log.jsonl with loss, accuracy, FLOPs and time. Ctrl-C leaves a
    NAME.resume.safetensors and exits 130.
    """
    data_options = {
        "image_size": image_size,
        "download": download,
        "tuning": tuning,
        "subset": subset,
        "random_labels": random_labels,
        "seed": seed,
    }
    if max_minutes is not None and not 0 <= max_minutes < float("inf"):
        raise OptionError(f"--max-minutes is 0 or more, got {max_minutes}")
    if resume is not None:
        _refuse_others(ctx)
        return _resume(resume, data_dir, device, output_path, max_minutes, force)
    for kind, name in (("model", model), ("optimizer", opt), ("regularizer", reg)):
        if name is not None:
            check(kind, name)
    if model is not None and checkpoint not in (None, "-"):
        raise OptionError(f"give a CHECKPOINT or --model, not both: got {checkpoint} and {model}")
    source = options.fresh_name(model, data or "digits") if model else options.checkpoint_path(checkpoint)
    path = options.target(output_path, source, "train", force=force)
    paused = beside(path, ".resume.safetensors")
    if paused.exists() and not force:
        raise OptionError(
            f"{paused} holds an interrupted training; go on with --resume {paused}, or replace by --force"
        )

    from prunectl.checkpoint import device_named
    from prunectl.cli.start import start
    from prunectl.recipe import Recipe
    from prunectl.train import Trainer

    where = device_named(device)
    recipe = Recipe(
        epochs=epochs,
        batch_size=batch_size,
        opt=opt,
        lr=lr,
        wd=wd,
        momentum=momentum,
        sched=sched,
        clip=clip,
        noise=noise,
        reg=reg,
        reg_weight=reg_weight,
        reg_options=options.pairs(plugin_options, "-O"),
        label_smoothing=label_smoothing,
        ema=ema,
        amp=where.type == "cuda" if amp is None else amp,
        compile=compile,
        augment=None if augment is None else tuple(part for part in augment.split(",") if part != "none"),
        seed=seed,
    )
    begun, images = start(
        None if model else source,
        model=model,
        model_options=options.pairs(model_options, "-M"),
        data=data,
        data_dir=data_dir,
        data_options=data_options,
        device=where,
        seed=seed,
    )
    trainer = Trainer(begun, images, recipe)
    beside(path, _LOG_SO_FAR).unlink(missing_ok=True)
    _run(trainer, path, {"data": data or begun.data, "data_options": data_options, "output": str(path)}, max_minutes)
    return None


def _refuse_others(ctx: typer.Context) -> None:
    """Refuse options that --resume would have to ignore: an interrupted training brings its own."""
    free = {"resume", "data_dir", "device", "output_path", "max_minutes", "force", "config"}
    for param in ctx.command.params:
        source = ctx.get_parameter_source(str(param.name))
        if param.name not in free and source is not None and source.name == "COMMANDLINE":
            flag = max(param.opts, key=len) if param.opts[0].startswith("-") else "CHECKPOINT"
            raise OptionError(f"--resume goes on as the training began; leave out {flag}")


def _resume(
    paused_path: Path, data_dir: Path | None, device: str, output_path: Path | None, limit: float | None, force: bool
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
    begun = paused_path.with_name(paused_path.name.removesuffix(resume.SUFFIX) + _LOG_SO_FAR)
    if begun.exists() and begun != beside(path, _LOG_SO_FAR):
        shutil.move(begun, beside(path, _LOG_SO_FAR))
    _forget(beside(path, _LOG_SO_FAR), paused.state.values["step"])
    _run(trainer, path, {**paused.run, "output": str(path)}, limit)
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


def _run(trainer: "Trainer", path: Path, run: dict[str, Any], max_minutes: float | None) -> None:
    """Train to the end, or to Ctrl-C or the time limit; write what came of it."""
    from prunectl import checkpoint, files, resume

    log, final, paused = (beside(path, suffix) for suffix in (_LOG_SO_FAR, ".log.jsonl", resume.SUFFIX))

    def save() -> None:
        resume.write(resume.Paused(trainer.current, trainer.recipe, trainer.state(), run), paused)

    deadline = time.monotonic() + 60 * max_minutes if max_minutes is not None else float("inf")
    saved = begun = time.monotonic()
    first, last, finished = trainer.images, None, True
    with _signals() as stopped, output.progress_bar("training", trainer.total_steps) as bar:
        for record in _steps(trainer, log):
            now = time.monotonic()
            if record is not None:
                files.append_record(log, record)
                last = record
            bar.update(trainer.step, lambda: _status(trainer, (trainer.images - first) / (time.monotonic() - begun)))
            if stopped:
                save()
                raise Interrupted(f"interrupted at step {trainer.step}; go on with: prunectl train --resume {paused}")
            if now > deadline and trainer.step < trainer.total_steps:
                finished = False
                break
            if record is not None and now - saved > _SAVE_EVERY:  # right after the check that the loss is finite
                save()
                saved = now
    checkpoint.write(trainer.result(), path)
    if finished:
        paused.unlink(missing_ok=True)
        final.unlink(missing_ok=True)
        if log.exists():
            log.replace(final)
    else:
        files.write(final, log.read_bytes() if log.exists() else b"")
        run["written"] = files.sha256(path)
        save()
        output.say(f"stopped by --max-minutes at step {trainer.step}; go on with: prunectl train --resume {paused}")
    if last is not None:
        output.say(_summary(last))
    output.emit(path)


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
        f"train: {record['step']:,} steps in {record['seconds']:.1f} s, loss {record['loss']:.4f}, "
        f"training accuracy {output.percent(record['accuracy'])} on the last {record['images']:,} images{evaluated}"
    )


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect the first Ctrl-C or SIGTERM in a list; a second one ends the program at once."""
    caught: list[int] = []

    def catch(number: int, frame: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
