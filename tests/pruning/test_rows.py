"""Layers as they are ranked, piece by piece: the same as a stable sort of all entries."""

import pytest
import torch
from torch import Tensor

from prunectl.masks import Masks
from prunectl.pruning import rows as module
from prunectl.pruning.rows import Row, highest_of
from prunectl.pruning.select import SCOPES, lamp, select
from prunectl.scores import Made, Scores
from prunectl.torchtools import pieces


@pytest.fixture(params=[7, 1 << 20])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Entries of a piece."""
    monkeypatch.setattr(pieces, "ENTRIES", request.param)
    monkeypatch.setattr(module, "_LEAST", request.param)
    return int(request.param)


KINDS = {
    "normal": lambda n: torch.randn(n, 9),
    "ties": lambda n: torch.randint(-2, 3, (n, 9)).float(),
    "zeros of both signs": lambda n: torch.zeros(n, 9) * torch.randint(-1, 2, (n, 9)),
    "near one": lambda n: 1 + torch.randn(n, 9) * 1e-6,
    "half": lambda n: torch.randn(n, 9).half(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_highest_are_those_of_a_stable_sort(piece: int, kind: str) -> None:
    torch.manual_seed(0)
    scores = [KINDS[kind](n) for n in (1, 5, 11)]
    alive = [None, torch.rand(5, 9) > 0.5, torch.rand(11, 9) > 0.5]
    rows = [Row(s, a) for s, a in zip(scores, alive, strict=True)]
    whole = torch.cat([torch.cat(list(row)) for row in rows])
    order = torch.argsort(whole, descending=True, stable=True)
    for keep in range(0, len(whole) + 1, 5):
        expected = torch.zeros(len(whole), dtype=torch.bool).index_fill(0, order[:keep], True)
        assert torch.equal(torch.cat(highest_of(rows, keep)), expected)


def test_the_best_of_a_row_is_its_first_one() -> None:
    row = Row(torch.tensor([1.0, 3.0, 2.0, 3.0, 9.0]), torch.tensor([True, True, True, True, False]))
    assert torch.cat(list(row.best_first())).tolist() == [1, torch.inf, 2, 3, -torch.inf]
    assert row.alive_entries() == 4


@pytest.mark.parametrize("kind", ["normal", "ties"])
def test_lamp_is_that_of_whole_rows(piece: int, kind: str) -> None:
    torch.manual_seed(0)
    score, alive = KINDS[kind](23).abs(), torch.rand(23, 9) > 0.3
    found = lamp(Scores({"a": score}), Masks({"a": alive}))["a"]
    assert torch.equal(found, _lamp(score, alive))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("kind", ["ties", "half"])
def test_scores_that_are_made_on_demand_select_the_same(piece: int, kind: str, scope: str) -> None:
    torch.manual_seed(0)
    weights = {name: KINDS[kind](n) for name, n in (("a", 6), ("b", 23))}
    alive = Masks({"b": torch.rand(23, 9) > 0.3})
    made = Scores(Made(weights, lambda weight: weight.abs().float()))
    held = made.held()
    assert made.shapes == {"a": (6, 9), "b": (23, 9)}
    found, expected = (select(scores, alive, 50, scope) for scores in (made, held))
    assert all(torch.equal(found[name], expected[name]) for name in weights)
    weights["a"].zero_()
    assert not made["a"].any()
    assert held["a"].any()


def _lamp(score: Tensor, alive: Tensor) -> Tensor:
    """The same at once."""
    row = score.flatten().double() * alive.flatten()
    order = torch.argsort(row.masked_fill(~alive.flatten(), -1), descending=True, stable=True)
    squares = row[order].square()
    sums = squares.cumsum(0)
    return torch.empty_like(row).index_copy_(0, order, squares / sums.where(sums > 0, 1)).view_as(score)
