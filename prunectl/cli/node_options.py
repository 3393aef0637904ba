"""Options for which nodes may be pruned, and how their scores are compared."""

from typing import Annotated, Any

import typer

from prunectl.checkpoints.options.pruning import NORMALIZATIONS
from prunectl.cli import texts
from prunectl.cli.completion import completes_one

MinNodes = Annotated[int, typer.Option(help="Keep at least this many nodes in every layer.", min=1)]
MultipleOf = Annotated[
    Any,  # a number or a text
    typer.Option(
        metavar="N",
        parser=texts.multiple,
        help="Keep a multiple of N nodes in every group; auto: 8 in groups of more than 16 nodes, 1 in others.",
        autocompletion=completes_one("auto", "4", "8", "16"),
    ),
]
Normalize = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Make scores of nodes comparable between groups: divide by the group's mean, max or l2 norm, standardise "
        "(gaussian), divide by the FLOPs saved (flops), or none  [default: the criterion's]",
        show_default=False,
        autocompletion=completes_one(*NORMALIZATIONS),
    ),
]
MaxPruned = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Prune at most this share of a group of nodes  [default: 0.9, or more if the target needs it]",
        show_default=False,
    ),
]
OuterLayers = Annotated[bool, typer.Option("--outer-layers", help="Also prune channels of the image.")]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Do not prune this layer: the name of a module or parameter, such as head or 'layer4.*'; repeatable.",
        show_default=False,
    ),
]
