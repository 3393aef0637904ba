"""prunectl train."""

import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunectl.checkpoints.options.data import DataOptions
from prunectl.checkpoints.options.pruning import refuse_auto
from prunectl.checkpoints.options.run import Run
from prunectl.cli import image_options, options, targets, texts
from prunectl.cli.options import completes
from prunectl.cli.start import begins_at, check_input, start
from prunectl.errors import OptionError
from prunectl.plugins.registry import check

if TYPE_CHECKING:
    from prunectl.checkpoints.options.pruning import GradualPruning


def command(
    ctx: typer.Context,
    checkpoint: options.CheckpointArgument = None,
    model: options.Model = None,
    model_options: options.ModelOptions = None,
    pretrained: options.Pretrained = False,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    input_shape: image_options.InputShape = None,
    classes: image_options.Classes = None,
    image_size: options.ImageSize = None,
    download: options.Download = False,
    tuning: options.Tuning = False,
    split: image_options.Split = None,
    subset: options.Subset = None,
    random_labels: options.RandomLabels = False,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.", min=0)] = 10,
    batch_size: options.BatchSize = 128,
    opt: Annotated[str, typer.Option(help="The optimiser.", autocompletion=completes("optimizer"))] = "adam",
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 2e-3,
    wd: Annotated[float, typer.Option(help="Weight decay.")] = 5e-5,
    momentum: Annotated[float, typer.Option(help="Of sgd (Nesterov) and rmsprop.")] = 0.9,
    sched: Annotated[str, typer.Option(help="Learning-rate schedule: constant, cosine or onecycle.")] = "constant",
    warmup: Annotated[float, typer.Option(help="Epochs in which the learning rate first rises.", min=0)] = 0.0,
    clip: Annotated[float | None, typer.Option(help="Clip the gradient's norm.")] = None,
    noise: Annotated[float, typer.Option(help="Standard deviation of noise on gradients.")] = 0.0,
    reg: Annotated[
        str | None,
        typer.Option(
            help="Regulariser: l1, lp (-O p=0.5), bn-l1, hoyer-square or group-hoyer-square.",
            autocompletion=completes("regularizer"),
        ),
    ] = None,
    reg_weight: Annotated[float, typer.Option(help="Its factor in the loss.")] = 1e-5,
    criterion: Annotated[
        str | None,
        typer.Option(
            "-c",
            "--criterion",
            help="Prune during training by this criterion, such as snapit-during.",
            autocompletion=completes("criterion"),
        ),
    ] = None,
    sparsity: Annotated[
        float | None,
        typer.Option(
            "-s",
            "--sparsity",
            help=f"Share of the dense network's weights or nodes, in (0, 1)  [default: {targets.DEFAULT_SPARSITY}]",
            show_default=False,
        ),
    ] = None,
    threshold: options.Threshold = None,
    params: targets.Params = None,
    flops: targets.Flops = None,
    size: targets.Size = None,
    prune_delay: targets.PruneDelay = None,
    prune_every: targets.PruneEvery = None,
    rewind_to: Annotated[
        int | None,
        typer.Option(
            help="After a round of a criterion that rewinds (imp), go back to the end of this epoch  [default: 0]",
            metavar="EPOCH",
            min=0,
            show_default=False,
        ),
    ] = None,
    schedule: options.Schedule = None,
    steps: options.Steps = None,
    scope: options.Scope = None,
    unit: options.Unit = None,
    min_nodes: options.MinNodes = 1,
    multiple_of: options.MultipleOf = 1,
    outer_layers: options.OuterLayers = False,
    normalize: options.Normalize = None,
    max_pruned: options.MaxPruned = None,
    keep: options.Keep = None,
    plugin_options: Annotated[
        list[str] | None,
        typer.Option(
            "-O",
            metavar="KEY=VALUE",
            help="An option of --criterion or --reg (of both: criterion.KEY or reg.KEY); may be repeated.",
        ),
    ] = None,
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="Take BatchNorm statistics anew at the end of the training.")
    ] = False,
    label_smoothing: Annotated[float, typer.Option(help="Share of the target given to all classes.")] = 0.0,
    ema: Annotated[float | None, typer.Option(help="Decay of averaged weights, which become the result.")] = None,
    augment: Annotated[
        str | None,
        typer.Option(help="none, or of flip, crop, cutout: flip,crop  [default: the dataset's]", show_default=False),
    ] = None,
    mixup: Annotated[
        float, typer.Option(metavar="ALPHA", help="Mix pairs of images, shares from Beta(ALPHA, ALPHA).")
    ] = 0.0,
    teacher: Annotated[
        Path | None, typer.Option(help="Learn from the logits of this checkpoint too, such as the dense network.")
    ] = None,
    teacher_weight: Annotated[float, typer.Option(help="The teacher's share of the loss.", min=0, max=1)] = 0.5,
    temperature: Annotated[float, typer.Option(help="Softens the teacher's predictions and the network's.")] = 4.0,
    amp: Annotated[
        bool | None, typer.Option("--amp/--no-amp", help="bfloat16 autocast  [default: on cuda]", show_default=False)
    ] = None,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the training step with torch.compile.")] = False,
    adv_eps: Annotated[
        str | None,
        typer.Option(help="Train on adversarials of this size in the max norm, such as 8/255.", show_default=False),
    ] = None,
    adv_steps: Annotated[int, typer.Option(help="Steps of gradient ascent that make them.", min=1)] = 7,
    adv_loss: Annotated[str, typer.Option(help="pgd (Madry et al. 2018) or trades (Zhang et al. 2019).")] = "pgd",
    adv_beta: Annotated[float, typer.Option(help="Of trades: the factor of the robustness term.")] = 6.0,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this time, and keep what was learnt.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with an interrupted training (NAME.resume.safetensors).")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write NAME.tensorboard beside the checkpoint, while it trains.")
    ] = False,
    tensorboard_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the TensorBoard there.", show_default=False)
    ] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    output_path: options.Output = None,
    force: options.Force = False,
    trust: options.Trust = False,
    config: options.Config = None,
) -> None:
    """Train a network: a fresh one (--model), or that of a checkpoint, its pruned weights held at zero.

    With --criterion it is pruned on the way, one round of the schedule after each of some epochs; where nodes go, the
    network gets smaller at once.

    Beside the checkpoint stands NAME.log.jsonl with loss, accuracy, FLOPs and time. Ctrl-C leaves a
    NAME.resume.safetensors and exits 130.
    """
    from prunectl.cli import tensorboard as board
    from prunectl.cli import train_resume, train_run

    data_options = DataOptions(**options.filled(DataOptions, ctx.params))
    if max_minutes is not None and not 0 <= max_minutes < float("inf"):
        raise OptionError(f"--max-minutes is 0 or more, got {max_minutes}")
    if resume is not None:
        train_resume.refuse_others(ctx)
        return train_resume.resumed(
            resume, data_dir, device, output_path, max_minutes, force, download, tensorboard, tensorboard_dir
        )
    if tensorboard or tensorboard_dir is not None:
        board.check_installed()
    if reg is None and options.given(ctx, {"reg_weight"}):
        raise OptionError("--reg-weight is the weight of a regulariser; name it with --reg")
    refuse_auto(criterion)
    named = {"model": model, "optimizer": opt, "regularizer": reg, "criterion": criterion, "schedule": schedule}
    for kind, name in named.items():
        if name is not None:
            check(kind, name)
    check_input(input_shape, classes, model, data)
    blank = data is None and (input_shape is not None or (pretrained and model is not None))
    if blank and (epochs or criterion is not None):
        raise OptionError("training needs images; give --data too, such as --data synthetic, or --epochs 0 alone")
    reg_options, criterion_options = _plugin_options(plugin_options, reg, criterion)
    source = begins_at(checkpoint, model, model_options, data or input_shape, pretrained=pretrained)
    path = options.target(output_path, source, "train", force=force)
    if not force:
        train_run.refuse_over_paused(path)
    train_run.check_target(path, force=force)
    _refuse_without_criterion(ctx, criterion)

    from prunectl.checkpoints.checkpoint import read
    from prunectl.checkpoints.options.training import Recipe
    from prunectl.torchtools.devices import device_named
    from prunectl.torchtools.distributed import started_together
    from prunectl.training.trainer import Trainer

    if started_together():
        raise OptionError("train runs in one process, torchrun started several; prune scores in several")
    where = device_named(device)
    converted = {
        "amp": where.type == "cuda" if amp is None else amp,
        "augment": None if augment is None else _augmentations(augment),
        "adv_eps": None if adv_eps is None else texts.fraction(adv_eps, "--adv-eps"),
        "reg_options": reg_options,
        "prune": None if criterion is None else _gradual_pruning(ctx.params, criterion_options),
    }
    recipe = Recipe(**{**options.filled(Recipe, ctx.params), **converted})
    begun, images = start(
        None if model else source,
        model=model,
        model_options=texts.pairs(model_options, "-M"),
        pretrained=pretrained,
        data=data,
        shape=texts.image_shape(input_shape),
        classes=classes,
        data_dir=data_dir,
        data_options=asdict(data_options),
        device=where,
        seed=seed,
    )
    trainer = Trainer(begun, images, recipe, teacher=None if teacher is None else read(teacher, where))
    run = Run(
        data=data or begun.data,
        output=str(path),
        data_options=data_options,
        data_dir=_absolute(data_dir),
        teacher=_absolute(teacher),
        device=device,
        tensorboard=tensorboard,
        tensorboard_dir=_absolute(tensorboard_dir),
    )
    with train_run.claimed(path, force=force) as log:
        os.truncate(log, 0)
        train_run.run(trainer, path, run, max_minutes, board.folder(tensorboard, tensorboard_dir, path), force=force)
    return None


def _gradual_pruning(params: dict[str, Any], criterion_options: dict[str, str]) -> "GradualPruning":
    """The pruning that the parsed parameters ask for, to the default sparsity if they name no target."""
    from prunectl.checkpoints.options.pruning import GradualPruning

    values = options.filled(GradualPruning, params) | {"keep": tuple(params["keep"] or ())}
    values["scope"] = values["scope"] or targets.DEFAULT_SCOPES.get(params["criterion"])
    budgets = {kind: values[kind] for kind in ("params", "flops", "size")}
    values["sparsity"] = targets.sparsity_for(values["sparsity"], values["threshold"], None, values["scope"], budgets)
    for name in ("prune_delay", "prune_every"):
        values[name] = None if values[name] is None else texts.interval(values[name])
    return GradualPruning(**values, options=criterion_options)


def _augmentations(text: str) -> tuple[str, ...]:
    """Read `none` or names separated by commas."""
    names = tuple(text.split(","))
    if "none" in names and len(names) > 1:
        raise OptionError(f"--augment none stands alone, got {text}")
    return () if text == "none" else names


def _absolute(path: Path | None) -> str | None:
    """A path that is valid from every folder."""
    return None if path is None else str(path.absolute())


def _refuse_without_criterion(ctx: typer.Context, criterion: str | None) -> None:
    """Refuse options of the pruning where nothing is pruned."""
    from prunectl.checkpoints.options.pruning import GradualPruning

    names = {field.name for field in fields(GradualPruning)}
    flag = options.given(ctx, names) if criterion is None else None
    if flag is not None:
        raise OptionError(f"{flag} says how to prune during training; name a --criterion too, such as snapit-during")


def _plugin_options(
    given_texts: list[str] | None, reg: str | None, criterion: str | None
) -> tuple[dict[str, str], dict[str, str]]:
    """The options of the regulariser and those of the criterion, from -O."""
    given = texts.pairs(given_texts, "-O")
    if reg is None or criterion is None:
        return (given, {}) if criterion is None else ({}, given)
    split: dict[str, dict[str, str]] = {"reg": {}, "criterion": {}}
    for key, value in given.items():
        owner, _, name = key.partition(".")
        if owner not in split or not name:
            raise OptionError(f"-O goes to --reg and --criterion: give reg.{key}={value} or criterion.{key}={value}")
        split[owner][name] = value
    return split["reg"], split["criterion"]
