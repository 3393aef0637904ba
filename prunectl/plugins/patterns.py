"""Shell patterns for names of layers and tensors."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

LONGEST = 1_000
"""Characters of a pattern that may match: reading one takes time with the square of its length."""


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name matches one of the patterns; a pattern longer than any name matches none."""
    return any(len(pattern) <= LONGEST and fnmatchcase(name, pattern) for pattern in patterns)
