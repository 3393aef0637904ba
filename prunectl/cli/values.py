"""How the texts of shapes and numbers are read."""

import math
import re

from prunectl.errors import OptionError


def image_shape(text: str | None) -> tuple[int, int, int] | None:
    """Read CxHxW; None stays None.

    Raises:
        OptionError: it is no shape.
    """
    if text is None:
        return None
    sides = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})x([1-9]\d{0,5})", text)
    if sides is None:
        raise OptionError(f"--input takes channels, height and width as 3x224x224, got '{text}'")
    return int(sides[1]), int(sides[2]), int(sides[3])


def numbers(text: str | None, flag: str) -> tuple[float, ...] | None:
    """Read numbers with commas between them; None stays None.

    Raises:
        OptionError: one of them is no finite number.
    """
    if text is None:
        return None
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = (math.nan,)
    if not all(math.isfinite(number) for number in found):
        raise OptionError(f"{flag} takes numbers like 0.5,0.5,0.5, got '{text}'")
    return found
