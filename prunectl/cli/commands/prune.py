"""prunectl prune."""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from prunectl.checkpoints.files import check_target
from prunectl.checkpoints.names import beside
from prunectl.checkpoints.options.pruning import AUTO, check_min_accuracy, check_runtime
from prunectl.checkpoints.options.repair import check_method
from prunectl.cli import (
    image_options,
    kept,
    node_options,
    options,
    output,
    precision,
    progress,
    pruning_options,
    targets,
    texts,
)
from prunectl.cli.process import keep_freed_memory
from prunectl.cli.prune_output import tell, tell_trial
from prunectl.cli.start import begins_at, check_input, start
from prunectl.errors import OptionError, ThresholdMissed
from prunectl.plugins.registry import check

if TYPE_CHECKING:
    from prunectl.checkpoints.checkpoint import Checkpoint
    from prunectl.checkpoints.options.pruning import StandalonePruning
    from prunectl.data.images import ImageData
    from prunectl.scores import Scores

SCORES = ".scores.safetensors"


def command(
    ctx: typer.Context,
    checkpoint: options.CheckpointArgument = None,
    criterion: pruning_options.Criterion = "snipit",
    sparsity: targets.Sparsity = None,
    params: targets.Params = None,
    flops: targets.Flops = None,
    size: targets.Size = None,
    latency: pruning_options.Latency = None,
    runtime: pruning_options.Runtime = None,
    threshold: options.Threshold = None,
    min_accuracy: pruning_options.MinAccuracy = None,
    schedule: options.Schedule = None,
    steps: options.Steps = None,
    scope: options.Scope = None,
    unit: options.Unit = None,
    min_nodes: node_options.MinNodes = 1,
    multiple_of: node_options.MultipleOf = 1,
    outer_layers: node_options.OuterLayers = False,
    normalize: node_options.Normalize = None,
    max_pruned: node_options.MaxPruned = None,
    refill: pruning_options.Refill = True,
    keep: node_options.Keep = None,
    plugin_options: options.PluginOptions = None,
    model: options.Model = None,
    model_options: options.ModelOptions = None,
    pretrained: options.Pretrained = False,
    data: options.FreshData = None,
    data_dir: options.DataDir = None,
    input_shape: image_options.InputShape = None,
    classes: image_options.Classes = None,
    image_size: options.ImageSize = None,
    download: options.Download = False,
    tuning: options.Withheld = False,
    split: image_options.Split = None,
    subset: options.Subset = None,
    batch_size: options.BatchSize = 128,
    balanced: pruning_options.Balanced = True,
    amp: pruning_options.Amp = False,
    shuffle_layerwise: pruning_options.ShuffleLayerwise = False,
    reinit: pruning_options.Reinit = False,
    repair: pruning_options.Repair = None,
    scores_out: pruning_options.ScoresOut = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    output_path: options.Output = None,
    force: options.Force = False,
    trust: options.Trust = False,
    config: options.Config = None,
) -> None:
    """Prune weights or nodes of a checkpoint, or of a new network (--model) before training.

    The target is one of: a sparsity (met exactly), a budget for the shrunk network (--params, --flops, --size,
    --latency), an accuracy (--min-accuracy), or a threshold for the scores.
    """
    if criterion != AUTO:
        check("criterion", criterion)
    check_min_accuracy(min_accuracy, criterion)
    check_runtime(runtime, latency)
    if repair is not None:
        check_method(repair)
    check_input(input_shape, classes, model, data)
    budgets = {"params": params, "flops": flops, "size": size, "latency": latency}
    pattern = scope or targets.DEFAULT_SCOPES.get(criterion)
    sparsity = targets.sparsity_for(sparsity, threshold, min_accuracy, pattern, budgets)
    if model is not None:
        check("model", model)
    source = begins_at(checkpoint, model, model_options, data or input_shape, pretrained=pretrained)
    path = options.target(output_path, source, "prune", force=force)
    if scores_out:
        check_target(beside(path, SCORES), force=force)

    from prunectl.checkpoints.options.pruning import StandalonePruning
    from prunectl.pruning.options import streams
    from prunectl.torchtools.devices import device_named
    from prunectl.torchtools.distributed import leads

    where = device_named(device)
    precision.warn_of_amp(where, asked=amp)
    chosen = StandalonePruning(
        **{
            **options.filled(StandalonePruning, ctx.params),
            "sparsity": sparsity,
            "options": texts.pairs(plugin_options, "-O"),
            "keep": tuple(keep or ()),
            "controls": (*["shuffle-layerwise"] * shuffle_layerwise, *["reinit"] * reinit),
        }
    )
    begun, images = _begin(
        source if model is None else None,
        _wants_images(criterion, repair),
        mapped=streams(chosen),
        model=model,
        model_options=texts.pairs(model_options, "-M"),
        pretrained=pretrained,
        data=data,
        shape=texts.image_shape(input_shape),
        classes=classes,
        data_dir=data_dir,
        data_options={
            "image_size": image_size,
            "download": download,
            "tuning": tuning,
            "subset": subset,
            "seed": seed,
            "split": split,
        },
        device=where,
        seed=seed,
    )
    last: deque[Scores] = deque(maxlen=1)
    pruned = _watched(begun, images, chosen, last.append if scores_out else None)
    if leads():
        _hand_over(criterion, pruned, path, last, force=force)


def _wants_images(criterion: str, repair: str | None) -> str | None:
    """Why images are needed; None if they are not."""
    if criterion == AUTO:
        return "criterion auto measures on training images"
    from prunectl.criteria.base.criterion import criterion_named

    if criterion_named(criterion).needs_data:
        return f"criterion {criterion} scores on images"
    return None if repair is None else "--repair uses images"


def _begin(
    source: Path | None, wants: str | None, *, mapped: bool, **where: Any
) -> "tuple[Checkpoint, ImageData | None]":
    """The checkpoint at `source` or a fresh network, with its images if something `wants` them."""
    from prunectl.checkpoints.checkpoint import read

    if source is not None and wants is None:
        return read(source, where["device"], mapped=mapped), None
    keep_freed_memory()
    if (where["shape"] is not None or where["pretrained"]) and where["data"] is None and wants is not None:
        raise OptionError(f"{wants}; add --data, such as --data synthetic")
    begun, images = start(source, **where)
    return begun, images if len(images.train) else None


def _watched(
    begun: "Checkpoint",
    images: "ImageData | None",
    chosen: "StandalonePruning",
    keep_scores: "Callable[[Scores], None] | None",
) -> "Checkpoint":
    """Prune with a progress bar."""
    from prunectl.pruning.prune import pruned

    with progress.progress_bar(chosen.criterion, 100) as bar:

        def report(i: int, rounds: int, now: float) -> None:
            what = "trial" if chosen.criterion == AUTO else "round"
            reached = "accuracy" if chosen.criterion == AUTO else "sparsity"
            bar.update(100 * i // rounds, lambda: f"{what} {i} of {rounds}, {reached} {now:.4f}")

        def report_repair(i: int, stops: int, name: str) -> None:
            bar.begin("repair", stops)
            bar.update(i, lambda: f"step {i + 1} of {stops}, {name}")

        return pruned(
            begun,
            images,
            chosen,
            report=report,
            report_repair=report_repair,
            report_trial=partial(tell_trial, str(chosen.latency), chosen.runtime),
            keep_scores=keep_scores,
            reuse=True,
        )


def _hand_over(criterion: str, pruned: "Checkpoint", path: Path, scores: "Iterable[Scores]", *, force: bool) -> None:
    """Write the files, report, and print the path."""
    from prunectl.checkpoints import checkpoint, files
    from prunectl.criteria.base.criterion import criterion_named
    from prunectl.pruning.latency_target import missed, undecided

    kept.written(path, lambda place: checkpoint.write(pruned, place, force=force))
    for last in scores:
        kept.written(beside(path, SCORES), partial(_write_scores, last, files.sha256(path), force=force))
    tell(criterion, pruned)
    method = None if criterion == AUTO else criterion_named(criterion)
    if method is not None and (method.rewinds or method.callback is not None):
        output.say(f"{criterion} also acts during training; to use that, run prunectl train --criterion {criterion}")
    entry = pruned.history[-1]
    doubt = undecided(entry.options, entry.result)
    if doubt is not None:
        output.warn(doubt)
    output.emit(path)
    above = missed(entry.options, entry.result)
    if above is not None:
        raise ThresholdMissed(above)


def _write_scores(scores: "Scores", of: str, path: Path, *, force: bool) -> None:
    """Write the scores of the checkpoint with the hash `of`."""
    from prunectl.checkpoints import files
    from prunectl.checkpoints.tensor_file import content, head_of

    named = scores.named()
    files.write(path, content(head_of(named, {"checkpoint": of}), named), force=force)
