"""Shell patterns of names: what they match, and that none takes long to read."""

import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunectl.plugins.patterns import LONGEST, fits

NAMES = st.text("ab.*?[]!-", max_size=12)


@given(NAMES, st.lists(NAMES, max_size=3))
def test_a_name_fits_if_a_pattern_matches_it_whole(name: str, patterns: list[str]) -> None:
    assert fits(name, patterns) == any(fnmatchcase(name, pattern) for pattern in patterns)


@pytest.mark.parametrize("pattern", ["[" * 100_000, "*a" * 50_000, "[!" * 50_000, "*" * 100_000])
def test_a_long_pattern_matches_nothing_and_takes_no_time(pattern: str) -> None:
    begun = time.process_time()
    assert not fits("features.0.weight", [pattern])
    assert time.process_time() - begun < 1  # "[" takes minutes where it is read
    assert fits("a" * LONGEST, ["a" * LONGEST])
