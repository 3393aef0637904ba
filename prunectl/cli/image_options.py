"""The options that say what images there are to be: a split of a folder, or a shape without any images."""

import re
from typing import Annotated

import typer

from prunectl.errors import OptionError

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
        help="With --input: the number of classes  [default: 1000, of synthetic images 10]", show_default=False, min=1
    ),
]


def image_shape(text: str | None) -> tuple[int, int, int] | None:
    """Read CxHxW.

    Raises:
        OptionError: it is none.
    """
    if text is None:
        return None
    sides = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text)
    if sides is None:
        raise OptionError(f"--input takes channels, height and width as 3x224x224, got '{text}'")
    return int(sides[1]), int(sides[2]), int(sides[3])
