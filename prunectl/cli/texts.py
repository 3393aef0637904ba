"""Reads the texts of options: KEY=VALUE, CxHxW, numbers, fractions."""

import math
import re

import typer

from prunectl.checkpoints.options.pruning import AUTO
from prunectl.errors import OptionError


def pairs(texts: list[str] | None, flag: str) -> dict[str, str]:
    """Read `KEY=VALUE` texts.

    Raises:
        OptionError: a text without '='.
    """
    found = {}
    for text in texts or []:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise OptionError(f"{flag} takes KEY=VALUE, got '{text}'")
        found[key] = value
    return found


def image_shape(text: str | None) -> tuple[int, int, int] | None:
    """Read CxHxW; None stays None.

    Raises:
        OptionError: it is not a shape.
    """
    if text is None:
        return None
    sides = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})x([1-9]\d{0,5})", text)
    if sides is None:
        raise OptionError(f"--input takes channels, height and width, such as 3x224x224, got '{text}'")
    return int(sides[1]), int(sides[2]), int(sides[3])


def numbers(text: str | None, flag: str) -> tuple[float, ...] | None:
    """Read numbers separated by commas; None stays None.

    Raises:
        OptionError: one of them is not a finite number.
    """
    if text is None:
        return None
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = (math.nan,)
    if not all(math.isfinite(number) for number in found):
        raise OptionError(f"{flag} takes numbers such as 0.5,0.5,0.5, got '{text}'")
    return found


def fraction(text: str, flag: str) -> float:
    """Read `8/255` or a number.

    Raises:
        OptionError: it is neither.
    """
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise OptionError(f"{flag} takes numbers such as 8/255 or 0.03, got '{text}'") from None


def multiple(text: str | int) -> int | str:
    """Read a number of nodes, or `auto`.

    Raises:
        BadParameter: it is neither.
    """
    found = int(text) if re.fullmatch(r"[1-9]\d{0,8}", str(text)) else text
    if found != AUTO and isinstance(found, str):
        raise typer.BadParameter(f"expected a whole number of 1 or more, or {AUTO}, got '{text}'")
    return found


def interval(text: str) -> int | str:
    """A number of epochs as an int; any other text, such as a number of steps (100s), unchanged."""
    return int(text) if re.fullmatch(r"-?\d{1,18}", text) else text
