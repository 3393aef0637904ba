"""prunectl shrink."""

from typing import Annotated

import typer

from prunectl.cli import options, output


def command(
    checkpoint: options.CheckpointArgument = None,
    norm: Annotated[
        str,
        typer.Option(
            help="exact: norms keep the statistics of their original width; alive: plain norms over what is left."
        ),
    ] = "exact",
    device: options.Device = "auto",
    output_path: options.Output = None,
    force: options.Force = False,
    trust: options.Trust = False,
    config: options.Config = None,
) -> None:
    """Remove the nodes that a mask has killed, and prove that the network still computes the same.

    When the proof fails nothing is written and the exit code is 1.
    """
    source = options.checkpoint_path(checkpoint)
    path = options.target(output_path, source, "shrink", force=force)

    from prunectl.checkpoints.checkpoint import read, write
    from prunectl.measuring.widths import hint
    from prunectl.pruning.shrink import shrink
    from prunectl.torchtools.devices import device_named

    masked = read(source, device_named(device))
    small = shrink(masked, norm=norm)
    write(small, path)
    result = small.history[-1].result
    was, now = (sum(p.numel() for p in network.model.parameters()) for network in (masked, small))
    output.say(f"shrink: {result['removed']:,} nodes removed, {result['nodes']:,} left; {was:,} -> {now:,} parameters")
    found = ", ".join(f"{difference:.1e} in {dtype}" for dtype, difference in result["proof"].items())
    output.say(f"proof: largest relative difference {found}")
    if result["runs"] == "graph":
        output.say("       it runs a rewritten graph: the network's own code does not fit the smaller tensors")
    if "training" in result:
        output.say(f"warning: for inference only: {result['training']}")
    if "change" in result:
        output.say(f"       --norm alive changes the outputs by up to {result['change']:.2g} of the largest")
    slow = hint(small.model)
    if slow is not None:
        output.say(f"hint: {slow}")
    output.emit(path)
