"""The least squares of a layer against numpy's, row by row on explicit patches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunectl.torchtools.normal_equations import NormalEquations, solved


def sums_of(rows: torch.Tensor, outputs: torch.Tensor, parts: int = 3) -> NormalEquations:
    groups, _, inputs = rows.shape
    sums = NormalEquations.empty(groups, outputs.shape[2], inputs, rows.device)
    for some, wanted in zip(rows.split(parts, 1), outputs.split(parts, 1), strict=True):
        sums.add_(some, wanted)
    return sums


def drawn(seed: int, groups: int = 2, outputs: int = 4, inputs: int = 5, count: int = 40) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(groups, count, inputs, dtype=torch.float64, generator=generator) + 1
    wanted = torch.randn(groups, count, outputs, dtype=torch.float64, generator=generator) - 2
    support = torch.rand(groups, outputs, inputs, generator=generator) > 0.4
    support[:, -1] = False
    start = torch.randn(groups, outputs, inputs, dtype=torch.float64, generator=generator) * support
    return rows, wanted, support, start


@pytest.mark.parametrize("free", [False, True])
def test_every_output_is_the_least_squares_of_numpy_on_its_own_support(free: bool) -> None:
    rows, wanted, support, start = drawn(0)
    sums = sums_of(rows, wanted)
    if free:
        sums.centre_()
    found = solved(sums, start, support, 0)
    offsets = sums.offsets(found)
    for g in range(2):
        for o in range(4):
            chosen = support[g, o].numpy()
            x = rows[g].numpy()[:, chosen]
            x = np.hstack([x, np.ones((len(x), 1))]) if free else x
            expected = np.linalg.lstsq(x, wanted[g, :, o].numpy(), rcond=None)[0]
            np.testing.assert_allclose(found[g, o].numpy()[chosen], expected[: chosen.sum()], atol=1e-9)
            assert not found[g, o].numpy()[~chosen].any()
            if free:
                np.testing.assert_allclose(offsets[g, o], expected[-1], atol=1e-9)


def test_one_weight_by_hand() -> None:
    """Rows 1 and 2, outputs 2 and 5: w = (2 + 10) / 5; with a ridge of one mean diagonal around 1, w - 1 = 7 / 10."""
    rows, wanted = torch.tensor([[[1.0], [2.0]]]).double(), torch.tensor([[[2.0], [5.0]]]).double()
    sums, every = sums_of(rows, wanted), torch.ones(1, 1, 1, dtype=torch.bool)
    assert float(solved(sums, torch.zeros(1, 1, 1).double(), every, 0)) == pytest.approx(2.4)
    assert float(solved(sums, torch.ones(1, 1, 1).double(), every, 1)) == pytest.approx(1.7)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), ridge=st.sampled_from([1e-6, 1e-2, 1.0]), count=st.integers(1, 8))
def test_no_output_gets_worse_on_the_rows_that_were_summed(seed: int, ridge: float, count: int) -> None:
    """Also with fewer rows than weights."""
    rows, wanted, support, start = drawn(seed, count=count)
    found = solved(sums_of(rows, wanted), start, support, ridge)
    before, after = ((rows @ m.transpose(1, 2) - wanted).square().sum(1) for m in (start, found))
    assert (after <= before * (1 + 1e-9)).all()


def test_inputs_that_are_always_zero_leave_the_weights_as_they_are() -> None:
    rows, wanted, support, start = drawn(3)
    assert torch.equal(solved(sums_of(0 * rows, wanted), start, support, 1e-4), start)


def test_the_sums_stay_as_they_are() -> None:
    """Systems are factored in place, in a copy; also where every input counts."""
    rows, wanted, support, start = drawn(5)
    sums = sums_of(rows, wanted)
    before = sums.xx.clone()
    for each in (support, torch.ones_like(support)):
        solved(sums, start * each, each, 1e-4)
        assert torch.equal(sums.xx, before)


def test_sums_can_grow_after_they_were_centred() -> None:
    rows, wanted, support, start = drawn(4)
    once, later = sums_of(rows, wanted), sums_of(rows[:, :20], wanted[:, :20])
    once.centre_()
    later.centre_()
    later.uncentre_()
    later.add_(rows[:, 20:], wanted[:, 20:])
    later.centre_()
    expected = solved(once, start, support, 1e-4)
    torch.testing.assert_close(solved(later, start, support, 1e-4), expected, rtol=0, atol=1e-10)
