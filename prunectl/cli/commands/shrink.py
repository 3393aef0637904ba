"""prunectl shrink."""

from typing import Annotated

import typer

from prunectl.cli import kept, options, output, progress
from prunectl.cli.completion import completes_one


def command(
    checkpoint: options.CheckpointArgument = None,
    norm: Annotated[
        str,
        typer.Option(
            help="exact (norms over channels keep the statistics of their original width) or alive (plain norms over "
            "the kept channels, which changes the outputs).",
            autocompletion=completes_one("exact", "alive"),
        ),
    ] = "exact",
    device: options.Device = "auto",
    output_path: options.Output = None,
    force: options.Force = False,
    trust: options.Trust = False,
    config: options.Config = None,
) -> None:
    """Remove pruned nodes, and prove that the smaller network gives the same outputs.

    If the proof fails, nothing is written and the exit code is 1.
    """
    source = options.checkpoint_path(checkpoint)
    path = options.target(output_path, source, "shrink", force=force)

    from prunectl.checkpoints.checkpoint import read, write
    from prunectl.measuring.widths import hint_of
    from prunectl.pruning.shrink import shrink
    from prunectl.torchtools.devices import device_named

    masked = read(source, device_named(device))
    with progress.progress_bar("shrink") as bar:
        small = shrink(masked, norm=norm, report=bar.step)
    kept.written(path, lambda place: write(small, place, force=force))
    result = small.history[-1].result
    was, now = (sum(p.numel() for p in network.model.parameters()) for network in (masked, small))
    output.say(
        f"shrink: {output.many(result['removed'], 'node')} removed, {result['nodes']:,} left; "
        f"{was:,} -> {now:,} parameters"
    )
    found = ", ".join(f"{difference:.1e} in {dtype}" for dtype, difference in result["proof"].items())
    output.say(f"proof: largest relative difference {found}")
    if result["runs"] == "graph":
        output.say("       it runs a rewritten graph, because the network's own code does not fit the smaller tensors")
    if "training" in result:
        output.warn(f"for inference only: {result['training']}")
    if "change" in result:
        output.say(f"       --norm alive changes the outputs by up to {result['change']:.2g} of the largest")
    slow = hint_of(small)
    if slow is not None:
        output.say(f"hint: {slow}")
    output.emit(path)
