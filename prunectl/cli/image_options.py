"""Options for the images of a new network: a split of a folder, or a shape without images."""

from typing import Annotated

import typer

Split = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="For an image folder without test images: share of each class to hold out  [default: 0.1, or as trained]",
        show_default=False,
    ),
]
InputShape = Annotated[
    str | None,
    typer.Option(
        "--input", metavar="CxHxW", help="Build --model for images of this shape, such as 3x224x224, without --data."
    ),
]
Classes = Annotated[
    int | None,
    typer.Option(
        help="Number of classes, with --input  [default: 1000, or 10 for synthetic images]",
        show_default=False,
        min=1,
        max=1_000_000,
    ),
]
