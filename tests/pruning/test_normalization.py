"""Scores of nodes on one scale: every normalisation by hand, against numpy, and FLOPs saved against FLOPs counted."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunectl.checkpoints.options.pruning import NORMALIZATIONS
from prunectl.errors import PrunectlError
from prunectl.pruning.normalization import normalized, saved_flops
from prunectl.structure.nodes import FROZEN, Product, Structure
from prunectl.structure.trace import trace
from tests.helpers.criterion_networks import NETWORKS, SHAPE

THREE = torch.tensor([0, 1, 2])
TWO = torch.tensor([3, 4])
PAIR = Structure(
    {("a.weight", 0): THREE, ("b.weight", 1): THREE, ("b.weight", 0): TWO},
    5,
    # 3 x 10 MACs, then 2 x 3 x 2, then 2 x 1: removing one of three saves 2 (10 + 4), one of two 2 (6 + 1)
    products=(Product("a", 10, (THREE,)), Product("b", 2, (THREE, TWO)), Product("c", 1, (TWO,))),
)
SCORES = torch.tensor([1.0, 2.0, 3.0, 10.0, 30.0])
ALL = torch.ones(5, dtype=torch.bool)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("none", [1, 2, 3, 10, 30]),
        ("mean", [0.5, 1, 1.5, 0.5, 1.5]),
        ("max", [1 / 3, 2 / 3, 1, 1 / 3, 1]),
        ("l2", [1 / 14**0.5, 2 / 14**0.5, 3 / 14**0.5, 1 / 10**0.5, 3 / 10**0.5]),
        ("gaussian", [-(1.5**0.5), 0, 1.5**0.5, -1, 1]),
        ("flops", [1 / 28, 2 / 28, 3 / 28, 10 / 14, 30 / 14]),
    ],
)
def test_by_hand(how, expected) -> None:
    assert normalized(how, SCORES, ALL, PAIR).tolist() == pytest.approx(expected)


def test_the_cases_above_are_all() -> None:
    assert NORMALIZATIONS == ("none", "mean", "max", "l2", "gaussian", "flops")


def test_nodes_that_are_gone_do_not_count() -> None:
    left = torch.tensor([True, True, False, True, False])
    assert normalized("mean", SCORES, left, PAIR)[left].tolist() == pytest.approx([1 / 1.5, 2 / 1.5, 1])
    assert normalized("gaussian", SCORES, left, PAIR)[left].tolist() == pytest.approx([-1, 1, 0])
    assert saved_flops(PAIR, ~left)[left].tolist() == [2 * (10 + 2), 2 * (10 + 2), 2 * (2 * 2 + 1)]


def test_a_group_of_zeros_stays_zero() -> None:
    for how in NORMALIZATIONS:
        assert normalized(how, torch.tensor([0.0, 0, 0, 1, 3]), ALL, PAIR)[:3].tolist() == [0, 0, 0], how


@given(st.lists(st.floats(-8, 8, width=32), min_size=5, max_size=5), st.lists(st.booleans(), min_size=5, max_size=5))
@settings(deadline=None, max_examples=60)
def test_against_numpy(values, left) -> None:
    scores, alive = np.array(values, dtype=np.float64), np.array(left)
    for how in ("mean", "max", "l2", "gaussian"):
        found = normalized(how, torch.tensor(values), torch.tensor(left), PAIR).numpy()
        for group in (slice(0, 3), slice(3, 5)):
            own = scores[group][alive[group]]
            if not len(own):
                continue
            shift = own.mean() if how == "gaussian" else 0.0
            by = {
                "mean": np.abs(own).mean(),
                "max": np.abs(own).max(),
                "l2": np.linalg.norm(own),
                "gaussian": own.std(),
            }
            if by[how] > 1e-6 or by[how] == 0:
                assert np.allclose(found[group][alive[group]], (own - shift) / (by[how] or 1), atol=1e-6), how


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_flops_are_those_of_a_count_without_the_node(name) -> None:
    structure = trace(NETWORKS[name](), SHAPE)
    gone = torch.rand(structure.nodes, generator=torch.Generator().manual_seed(0)) < 0.3
    saved = saved_flops(structure, gone)
    for node in torch.nonzero(~gone).flatten().tolist():
        without = gone.index_fill(0, torch.tensor([node]), True)
        assert saved[node] == pytest.approx(structure.flops(gone) - structure.flops(without))


def test_a_node_on_a_frozen_axis_saves_what_is_its_own() -> None:
    """A product of 4 x 2 indices, of which one of the four is the node's: it saves a quarter."""
    classes = torch.tensor([0, FROZEN, FROZEN, FROZEN])
    structure = Structure({("a.weight", 0): classes}, 1, products=(Product("a", 1, (classes, torch.full((2,), -1))),))
    assert saved_flops(structure, torch.tensor([False])).tolist() == [2 * 2]


def test_an_unknown_one() -> None:
    with pytest.raises(PrunectlError, match="no normalization named 'maen'; did you mean 'mean'"):
        normalized("maen", SCORES, ALL, PAIR)
