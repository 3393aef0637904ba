"""Schedules: the paper's list, and what every list must be."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunectl.checkpoints.options.pruning import check_sparsity
from prunectl.criteria.base.schedules import alternating, constant, cubic, cubic_hold, exponential, one_shot, snipit
from prunectl.errors import OptionError
from prunectl.plugins.registry import TABLES, resolve

TARGETS = st.floats(0, 1, exclude_min=True, exclude_max=True)


@pytest.mark.parametrize(
    ("target", "steps", "expected"),
    [
        (0.98, 5, [0.5, 0.74, 0.86, 0.92, 0.95, 0.965, 0.98]),
        (0.93, 5, [0.5, 0.715, 0.8225, 0.87625, 0.903125, 0.9165625, 0.93]),
        (0.9, 1, [0.5, 0.7, 0.9]),
        (0.9, 0, [0.5, 0.9]),
        (0.5, 5, [0.5]),
        (0.4, 3, [0.2, 0.3, 0.35, 0.4]),  # from 0 on below one half
        (0.3, 1, [0.15, 0.3]),
    ],
)
def test_the_rounds_of_snipit(target, steps, expected):
    assert list(snipit(target, steps)) == pytest.approx(expected, rel=1e-12)


def test_a_target_below_one_half_is_never_passed():
    rounds = snipit(0.3, 5)
    assert min(rounds) > 0
    assert max(rounds) == rounds[-1] == 0.3


@given(TARGETS, st.integers(0, 60))
def test_a_schedule_that_holds_is_cubic_in_the_first_half(target, steps):
    rounds, rising = cubic_hold(target, steps), cubic(target, max((steps + 1) // 2, 1))
    assert len(rounds) == max(steps, 1)
    assert rounds[: len(rising)] == rising
    assert set(rounds[len(rising) :]) <= {target}


@given(
    TARGETS,
    st.integers(0, 60),
    st.sampled_from(sorted({*TABLES["schedule"]} - {"constant", "alternating", "cubic-hold"})),
)
def test_every_schedule_increases_and_ends_at_the_target(target, steps, name):
    rounds = resolve("schedule", name)(target, steps)
    assert rounds[-1] == target
    assert rounds[0] > 0
    assert all(before < after for before, after in pairwise(rounds))


@pytest.mark.parametrize(
    ("schedule", "target", "steps", "expected"),
    [
        (exponential, 0.99, 2, [0.9, 0.99]),  # a tenth of what is left stays in every round
        (exponential, 0.936, 3, [0.6, 0.84, 0.936]),  # 0.4, 0.16, 0.064 are kept
        (exponential, 0.7, 1, [0.7]),
        (cubic, 0.8, 2, [0.7, 0.8]),
        (cubic, 0.875, 4, [0.875 * 37 / 64, 0.875 * 56 / 64, 0.875 * 63 / 64, 0.875]),
        (constant, 0.8, 3, [0.8, 0.8, 0.8]),
        (cubic_hold, 0.8, 4, [0.7, 0.8, 0.8, 0.8]),
        (cubic_hold, 0.8, 3, [0.7, 0.8, 0.8]),
        (cubic_hold, 0.8, 0, [0.8]),
        (alternating, 0.8, 5, [0.8, 0, 0.8, 0, 0.8]),
        (alternating, 0.8, 2, [0, 0.8]),
        (alternating, 0.8, 0, [0.8]),
    ],
)
def test_the_rounds_of_other_schedules(schedule, target, steps, expected):
    assert list(schedule(target, steps)) == pytest.approx(expected, rel=1e-12)


@given(TARGETS, st.integers(0, 60))
def test_one_shot_is_one_round(target, steps):
    assert one_shot(target, steps) == (target,)


@pytest.mark.parametrize("sparsity", [1.0, 0, 0.0, -0.1, math.nan, math.inf, -math.inf, 2])
def test_what_is_no_sparsity(sparsity):
    message = f"`sparsity` must be between 0 and 1 \\(0.9 = 90 % pruned\\), got {sparsity}"
    with pytest.raises(OptionError, match=message):
        check_sparsity(sparsity)


@given(TARGETS)
def test_what_is_a_sparsity(target):
    check_sparsity(target)
