"""Search for the smallest count that fits."""

from collections.abc import Callable


def fewest(most: int, fits: Callable[[int], bool], tries: int | None = None) -> int | None:
    """The smallest count up to `most` that fits, None if `most` does not.

    `fits` must be monotone: every count above one that fits must fit too. `tries` limits the number of counts tried;
    the result is then the smallest of those that fit.
    """
    if not fits(most):
        return None
    low, high, tried = -1, most, 1
    while high - low > 1 and (tries is None or tried < tries):
        middle, tried = (low + high) // 2, tried + 1
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
