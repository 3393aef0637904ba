"""The options that only `prune` has."""

from typing import Annotated

import typer

from prunectl.checkpoints.options.repair import METHODS
from prunectl.checkpoints.options.runtimes import RUNTIMES
from prunectl.cli.completion import completes, completes_one

Criterion = Annotated[
    str,
    typer.Option(
        "-c",
        "--criterion",
        help="What ranks weights or nodes (list: `prunectl criteria`); auto tries several on a trained "
        "network, repairs and measures them, and keeps the best.",
        autocompletion=completes("criterion"),
    ),
]
Latency = Annotated[
    str | None,
    typer.Option(
        metavar="BUDGET",
        help="Prune nodes until one image takes this long on this machine: 2x or 0.5x (half the time).",
    ),
]
Runtime = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Measure --latency in eager (plain torch), compiled (torch.compile) or onnx (ONNX Runtime)  [default: "
        "eager]",
        show_default=False,
        autocompletion=completes_one(*RUNTIMES),
    ),
]
MinAccuracy = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="With -c auto: find the smallest network with this accuracy on held-out training images.",
        show_default=False,
    ),
]
Refill = Annotated[bool, typer.Option("--refill/--no-refill", help="Add nodes back where a budget leaves room.")]
Balanced = Annotated[
    bool,
    typer.Option("--balanced/--shuffled", help="Score on batches with balanced classes, or on images drawn at random."),
]
Amp = Annotated[bool, typer.Option("--amp", help="Score in bfloat16 where that is safe, with sums in float32.")]
ShuffleLayerwise = Annotated[
    bool, typer.Option("--shuffle-layerwise", help="Sanity check: shuffle the mask within every layer afterwards.")
]
Reinit = Annotated[bool, typer.Option("--reinit", help="Sanity check: draw new parameters under the mask afterwards.")]
Repair = Annotated[
    str | None,
    typer.Option(
        metavar="[METHOD]",
        help="Repair the pruned network, like `prunectl repair --method`: refit (the default), scale or bn.",
        show_default=False,
        autocompletion=completes_one(*METHODS),
    ),
]
ScoresOut = Annotated[
    bool, typer.Option("--scores-out", help="Also write the last scores, as NAME.scores.safetensors, for `report`.")
]
