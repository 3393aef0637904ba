"""prunectl train."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from prunectl.checkpoints.options.data import DataOptions
from prunectl.checkpoints.options.pruning import refuse_auto
from prunectl.checkpoints.options.run import Run
from prunectl.cli import image_options, node_options, options, precision, targets, texts, training_options
from prunectl.cli.start import begins_at, check_input, start, warn_of_other_images
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
    data: options.FreshData = None,
    data_dir: options.DataDir = None,
    input_shape: image_options.InputShape = None,
    classes: image_options.Classes = None,
    image_size: options.ImageSize = None,
    download: options.Download = False,
    tuning: options.Tuning = False,
    split: image_options.Split = None,
    subset: options.Subset = None,
    random_labels: options.RandomLabels = False,
    epochs: training_options.Epochs = 10,
    batch_size: options.BatchSize = 128,
    opt: training_options.Opt = "adam",
    lr: training_options.Lr = 2e-3,
    wd: training_options.Wd = 5e-5,
    momentum: training_options.Momentum = 0.9,
    sched: training_options.Sched = "constant",
    warmup: training_options.Warmup = 0.0,
    clip: training_options.Clip = None,
    noise: training_options.Noise = 0.0,
    reg: training_options.Reg = None,
    reg_weight: training_options.RegWeight = 1e-5,
    criterion: training_options.Criterion = None,
    sparsity: targets.Sparsity = None,
    threshold: options.Threshold = None,
    params: targets.Params = None,
    flops: targets.Flops = None,
    size: targets.Size = None,
    prune_delay: targets.PruneDelay = None,
    prune_every: targets.PruneEvery = None,
    rewind_to: training_options.RewindTo = None,
    schedule: options.Schedule = None,
    steps: options.Steps = None,
    scope: options.Scope = None,
    unit: options.Unit = None,
    min_nodes: node_options.MinNodes = 1,
    multiple_of: node_options.MultipleOf = 1,
    outer_layers: node_options.OuterLayers = False,
    normalize: node_options.Normalize = None,
    max_pruned: node_options.MaxPruned = None,
    keep: node_options.Keep = None,
    plugin_options: training_options.PluginOptions = None,
    recalibrate: training_options.Recalibrate = False,
    label_smoothing: training_options.LabelSmoothing = 0.0,
    ema: training_options.Ema = None,
    augment: training_options.Augment = None,
    mixup: training_options.Mixup = 0.0,
    teacher: training_options.Teacher = None,
    teacher_weight: training_options.TeacherWeight = 0.5,
    temperature: training_options.Temperature = 4.0,
    amp: training_options.Amp = None,
    compile: training_options.Compile = False,
    adv_eps: training_options.AdvEps = None,
    adv_steps: training_options.AdvSteps = 7,
    adv_loss: training_options.AdvLoss = "pgd",
    adv_beta: training_options.AdvBeta = 6.0,
    max_minutes: training_options.MaxMinutes = None,
    resume: training_options.Resume = None,
    tensorboard: training_options.Tensorboard = False,
    tensorboard_dir: training_options.TensorboardDir = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    output_path: options.Output = None,
    force: options.Force = False,
    trust: options.Trust = False,
    config: options.Config = None,
) -> None:
    """Train a new network (--model) or a checkpoint; pruned weights stay at zero.

    With --criterion, the network is also pruned, in rounds between epochs or steps. Pruned nodes are
    removed at once, which makes later epochs faster.

    NAME.log.jsonl, beside the checkpoint, records loss, accuracy, FLOPs and time. Ctrl-C writes NAME.resume.safetensors
    for --resume, and exits with code 130.
    """
    from prunectl.cli import tensorboard as board
    from prunectl.cli import train_resume, train_run

    data_options = DataOptions(**options.filled(DataOptions, ctx.params))
    if max_minutes is not None and not 0 <= max_minutes < float("inf"):
        raise OptionError(f"--max-minutes must be 0 or more, got {max_minutes}")
    if resume is not None:
        train_resume.refuse_others(ctx)
        return train_resume.resumed(
            resume, data_dir, device, output_path, max_minutes, force, download, tensorboard, tensorboard_dir
        )
    if tensorboard or tensorboard_dir is not None:
        board.check_installed()
    if reg is None and options.given(ctx, {"reg_weight"}):
        raise OptionError("--reg-weight is for a regulariser; name one with --reg")
    refuse_auto(criterion)
    named = {"model": model, "optimizer": opt, "regularizer": reg, "criterion": criterion, "schedule": schedule}
    for kind, name in named.items():
        if name is not None:
            check(kind, name)
    check_input(input_shape, classes, model, data)
    blank = data is None and (input_shape is not None or (pretrained and model is not None))
    if blank and (epochs or criterion is not None):
        raise OptionError("training needs images: add --data, such as --data synthetic, or --epochs 0 alone")
    reg_options, criterion_options = _plugin_options(plugin_options, reg, criterion)
    source = begins_at(checkpoint, model, model_options, data or input_shape, pretrained=pretrained)
    path = options.named(output_path, source, "train")
    if not force:
        train_run.refuse_over_paused(path)
    train_run.check_target(path, force=force)
    _refuse_without_criterion(ctx, criterion)

    from prunectl.checkpoints.checkpoint import read
    from prunectl.checkpoints.options.training import Recipe
    from prunectl.torchtools.devices import device_named
    from prunectl.torchtools.distributed import leads
    from prunectl.training.trainer import Trainer

    where = device_named(device)
    precision.warn_of_amp(where, asked=amp)
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
    taught_by = None if teacher is None else read(teacher, where)
    trainer = Trainer(begun, images, recipe, teacher=taught_by, reuse=True)
    if not leads():
        return train_run.follow(trainer)
    if trainer.total_steps:
        train_run.say_augmentation(trainer)
        count = trainer.total_steps * trainer.recipe.batch_size
        precision.hint_at_amp(where, asked=amp, flops=trainer.learner.flops, images=count)
    run = Run(
        data=data or begun.data,
        output=str(path),
        data_options=data_options,
        data_dir=_absolute(data_dir),
        teacher=_absolute(teacher),
        teacher_sha256=None if taught_by is None else taught_by.sha256,
        device=device,
        tensorboard=tensorboard,
        tensorboard_dir=_absolute(tensorboard_dir),
    )
    warn_of_other_images(begun, images)
    with train_run.claimed(path, force=force) as log:
        log.begin([])
        shown = board.folder(tensorboard, tensorboard_dir, path)
        train_run.run(trainer, path, run, max_minutes, shown, log=log, force=force)
    return None


def _gradual_pruning(params: dict[str, Any], criterion_options: dict[str, str]) -> "GradualPruning":
    """The pruning of the parsed parameters, with the default sparsity if they name no target."""
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
        raise OptionError(f"--augment none cannot be combined with others, got {text}")
    return () if text == "none" else names


def _absolute(path: Path | None) -> str | None:
    """A path that is valid from every folder."""
    return None if path is None else str(path.absolute())


def _refuse_without_criterion(ctx: typer.Context, criterion: str | None) -> None:
    """Refuse options of pruning if nothing is pruned."""
    from prunectl.checkpoints.options.pruning import GradualPruning

    names = {field.name for field in fields(GradualPruning)}
    flag = options.given(ctx, names) if criterion is None else None
    if flag is not None:
        raise OptionError(f"{flag} is for pruning during training; add a --criterion, such as snapit-during")


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
            raise OptionError(f"-O may mean --reg or --criterion: write reg.{key}={value} or criterion.{key}={value}")
        split[owner][name] = value
    return split["reg"], split["criterion"]
