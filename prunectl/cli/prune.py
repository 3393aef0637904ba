"""prunectl prune."""

from typing import Annotated

import typer

from prunectl.cli import options, output
from prunectl.cli.options import completes
from prunectl.errors import OptionError
from prunectl.registry import check
from prunectl.schedule import check_sparsity


def command(
    checkpoint: options.CheckpointArgument = None,
    criterion: Annotated[
        str, typer.Option("-c", "--criterion", help="What ranks the weights.", autocompletion=completes("criterion"))
    ] = "snipit",
    sparsity: Annotated[
        float, typer.Option("-s", "--sparsity", help="Share of the dense network's weights to prune, in (0, 1).")
    ] = 0.9,
    schedule: Annotated[
        str | None,
        typer.Option(help="one-shot or snipit  [default: the criterion's]", autocompletion=completes("schedule")),
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of an iterative schedule (s of the paper).", min=1)] = 5,
    scope: Annotated[str | None, typer.Option(help="Rank all layers together (global) or each alone (layer).")] = None,
    plugin_options: options.PluginOptions = None,
    model: options.Model = None,
    model_options: options.ModelOptions = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    download: options.Download = False,
    tuning: options.Tuning = False,
    subset: options.Subset = None,
    batch_size: options.BatchSize = 128,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    output_path: options.Output = None,
    force: options.Force = False,
    config: options.Config = None,
) -> None:
    """Prune weights to a sparsity, exactly: of a checkpoint, or of a fresh network (--model), before training."""
    check("criterion", criterion)
    check_sparsity(sparsity)
    if model is not None:
        check("model", model)
        if checkpoint not in (None, "-"):
            raise OptionError(f"give a CHECKPOINT or --model, not both: got {checkpoint} and {model}")
    source = options.fresh_name(model, data or "digits") if model else options.checkpoint_path(checkpoint)
    path = options.target(output_path, source, "prune", force=force)

    from prunectl.checkpoint import device_named, read, write
    from prunectl.cli.start import start
    from prunectl.criterion import criterion_named
    from prunectl.prune import prune

    where, images = device_named(device), None
    if model is None and not criterion_named(criterion).needs_data:
        begun = read(source, where)
    else:
        begun, images = start(
            None if model else source,
            model=model,
            model_options=options.pairs(model_options, "-M"),
            data=data,
            data_dir=data_dir,
            data_options={
                "image_size": image_size,
                "download": download,
                "tuning": tuning,
                "subset": subset,
                "seed": seed,
            },
            device=where,
            seed=seed,
        )
    with output.progress_bar(criterion, 100) as bar:
        pruned = prune(
            begun,
            images,
            criterion=criterion,
            sparsity=sparsity,
            schedule=schedule,
            steps=steps,
            scope=scope,
            options=options.pairs(plugin_options, "-O"),
            batch_size=batch_size,
            seed=seed,
            report=lambda i, rounds, now: bar.update(
                100 * i // rounds, lambda: f"round {i} of {rounds}, sparsity {now:.4f}"
            ),
        )
    write(pruned, path)
    kept = pruned.masks.kept(pruned.model)
    reached = 1 - kept / pruned.dense.weights
    output.say(f"{criterion}: kept {kept:,} of {pruned.dense.weights:,} weights, sparsity {reached:.6f}")
    output.emit(path)
