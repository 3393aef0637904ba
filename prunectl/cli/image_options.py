"""The options that say what images there are to be: a split of a folder, or a shape without any images."""

from typing import Annotated

import typer

Split = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Share of each class of an image folder without test images to hold out  [default: 0.1, or as trained]",
        show_default=False,
    ),
]
InputShape = Annotated[
    str | None,
    typer.Option(
        "--input", metavar="CxHxW", help="Build --model for images of this shape, 3x224x224, that no --data brings."
    ),
]
Classes = Annotated[
    int | None,
    typer.Option(
        help="With --input: the number of classes  [default: 1000, of synthetic images 10]",
        show_default=False,
        min=1,
        max=1_000_000,
    ),
]
