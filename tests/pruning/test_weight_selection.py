"""Selection: an exact count, the highest first, nothing revived, no layer cut through."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prunectl.criteria.base.pattern import pattern_of
from prunectl.errors import PrunectlError
from prunectl.masks import Masks
from prunectl.pruning.select import SCOPES, apportion, select, select_pattern
from prunectl.scores import Scores

FEW = st.integers(0, 3).map(float)  # few different scores: most of them are ties
ANY = st.floats(-(2.0**100), 2.0**100, width=32)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Scores, Masks, int]:
    """One to four layers, some of them pruned before, and a count that they can keep."""
    values = draw(st.sampled_from([FEW, ANY]))
    scores, alive, left = {}, {}, 0
    for i in range(draw(st.integers(1, 4))):
        shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=2))
        size = math.prod(shape)
        scores[f"{i}"] = torch.tensor(draw(st.lists(values, min_size=size, max_size=size))).view(shape)
        if draw(st.booleans()):
            kept = draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(any))
            alive[f"{i}"] = torch.tensor(kept).view(shape)
            size = sum(kept)
        left += size
    return Scores(scores), Masks(alive), draw(st.integers(len(scores), left))


def positive(scores: Scores) -> Scores:
    """What scope lamp takes."""
    return Scores({name: score.abs() for name, score in scores.items()})


def living(scores: Scores, alive: Masks, name: str) -> Tensor:
    return alive[name] if name in alive else torch.ones_like(scores[name], dtype=torch.bool)


def by_sorting(scores: Scores, alive: Masks, keep: int) -> dict[str, list[bool]]:
    """Each layer's best, then the rest in a stable descending order: what `select` is to equal, in plain Python."""
    ranking = []
    for name, score in scores.items():
        live = living(scores, alive, name).flatten().tolist()
        row = [(name, i, value) for i, value in enumerate(score.flatten().tolist()) if live[i]]
        best = max(row, key=lambda entry: entry[2])  # the first of equal ones
        ranking += [(entry is not best, -entry[2], name, entry[1]) for entry in row]
    ranking.sort(key=lambda entry: entry[:2])
    chosen = {(name, i) for _, _, name, i in ranking[:keep]}
    return {name: [(name, i) in chosen for i in range(score.numel())] for name, score in scores.items()}


@given(cases(), st.sampled_from(sorted(SCOPES)))
@settings(deadline=None)
def test_an_exact_count_stays_and_nothing_is_revived_and_no_layer_is_cut(case, scope):
    scores, alive, keep = case
    scores = positive(scores) if scope == "lamp" else scores
    kept = select(scores, alive, keep, scope)
    assert list(kept) == list(scores)
    assert sum(int(mask.sum()) for mask in kept.values()) == keep
    for name, mask in kept.items():
        assert mask.shape == scores[name].shape
        assert mask.any()
        assert not (mask & ~living(scores, alive, name)).any()


@given(cases())
@settings(deadline=None, max_examples=70)
def test_global_equals_a_stable_sort(case):
    scores, alive, keep = case
    kept = select(scores, alive, keep, "global")
    assert {name: mask.flatten().tolist() for name, mask in kept.items()} == by_sorting(scores, alive, keep)


@given(cases())
@settings(deadline=None)
def test_layer_equals_a_stable_sort_of_each_layer(case):
    scores, alive, keep = case
    for name, mask in select(scores, alive, keep, "layer").items():
        alone = Scores({name: scores[name]})
        assert mask.flatten().tolist() == by_sorting(alone, alive, int(mask.sum()))[name]


@given(cases(), st.sampled_from(sorted(SCOPES)))
@settings(deadline=None, max_examples=40)
def test_fewer_are_a_subset_of_more(case, scope):
    scores, alive, keep = case
    scores = positive(scores) if scope == "lamp" else scores
    more = select(scores, alive, keep, scope)
    fewer = select(scores, more, len(scores), scope)
    assert [int(mask.sum()) for mask in fewer.values()] == [1] * len(scores)
    assert not any((fewer[name] & ~more[name]).any() for name in scores)


def test_many_ties_in_a_large_layer():
    score = torch.randint(0, 5, (200, 100), generator=torch.Generator().manual_seed(0)).float()
    first = torch.argsort(score.flatten(), descending=True, stable=True)[:7_001]
    expected = torch.zeros(20_000, dtype=torch.bool).index_fill(0, first, True).view(200, 100)
    assert torch.equal(select(Scores({"a": score}), Masks.dense(), 7_001)["a"], expected)


T, F = True, False


@pytest.mark.parametrize(
    ("scores", "alive", "keep", "scope", "expected"),
    [
        ({"a": [1, 4, 2], "b": [3, 0, 5, 9]}, {}, 3, "global", {"a": [F, T, F], "b": [F, F, T, T]}),
        ({"a": [1, 2], "b": [5, 6, 7]}, {}, 2, "global", {"a": [F, T], "b": [F, F, T]}),  # a's best stays
        ({"a": [1, 1, 1], "b": [1, 1, 1]}, {}, 4, "global", {"a": [T, T, T], "b": [T, F, F]}),
        ({"a": [1, 7, 7, 7]}, {}, 2, "global", {"a": [F, T, T, F]}),
        ({"a": [9, 1, 2]}, {"a": [F, T, T]}, 1, "global", {"a": [F, F, T]}),
        ({"a": [9, -1, -2]}, {"a": [F, T, T]}, 2, "global", {"a": [F, T, T]}),  # below what is pruned
        ({"a": [1, 2, 3]}, {}, 3, "global", {"a": [T, T, T]}),
        ({"a": [8, 9], "b": [1, 2, 3, 4]}, {}, 3, "layer", {"a": [F, T], "b": [F, F, T, T]}),
        ({"a": [8, 9], "b": [1, 2, 3, 4]}, {"b": [T, F, F, F]}, 3, "layer", {"a": [T, T], "b": [T, F, F, F]}),
        ({"a": [[1, 2, 3], [9, 8, 7]]}, {}, 4, "output", {"a": [[F, T, T], [T, T, F]]}),
        ({"a": [[1, 2, 3], [9, 8, 7]]}, {}, 3, "output", {"a": [[F, F, T], [T, T, F]]}),  # 8 is the better second
        ({"a": [[9, 5], [1, 2]]}, {"a": [[F, T], [T, T]]}, 2, "output", {"a": [[F, T], [F, T]]}),
        ({"a": [8, 9], "b": [1, 2]}, {"a": [F, F]}, 2, "global", {"a": [F, F], "b": [T, T]}),  # a is gone already
        ({"a": [8, 9], "b": [1, 2]}, {"a": [F, F]}, 2, "layer", {"a": [F, F], "b": [T, T]}),
    ],
)
def test_small_examples(scores, alive, keep, scope, expected):
    rows = Scores({name: torch.tensor(row, dtype=torch.float32) for name, row in scores.items()})
    masks = Masks({name: torch.tensor(row) for name, row in alive.items()})
    assert {name: mask.tolist() for name, mask in select(rows, masks, keep, scope).items()} == expected


def test_lamp_by_hand():
    """Layer a: 1/14, 4/13, 9/9; b: 4/29, 25/25 (each square over those of the layer that are no smaller)."""
    scores = Scores({"a": torch.tensor([1.0, 3.0, 2.0]), "b": torch.tensor([5.0, 2.0])})
    kept = [select(scores, Masks.dense(), keep, "lamp") for keep in (4, 3, 2)]
    assert [mask["a"].tolist() for mask in kept] == [[F, T, T], [F, T, T], [F, T, F]]
    assert [mask["b"].tolist() for mask in kept] == [[T, T], [T, F], [T, F]]


def test_lamp_looks_at_what_is_left():
    scores = Scores({"a": torch.tensor([9.0, 1.0, 2.0]), "b": torch.tensor([3.0, 2.0])})
    alive = Masks({"a": torch.tensor([False, True, True])})  # a: 1/5, 4/4; b: 4/13, 9/9
    assert select(scores, alive, 3, "lamp")["a"].tolist() == [F, F, T]


def test_lamp_has_no_use_for_signs():
    with pytest.raises(PrunectlError, match="scope lamp squares the scores, but some are below 0"):
        select(Scores({"a": torch.tensor([2.0, 1.0, -10.0])}), Masks.dense(), 2, "lamp")


def test_a_pattern_that_fits_nowhere_is_refused():
    with pytest.raises(PrunectlError, match="no layer has a multiple of 4 inputs, so 2:4 would prune nothing"):
        select_pattern(Scores({"a": torch.ones(4, 3), "b": torch.ones(8)}), Masks.dense(), (2, 4), {"a": 1, "b": None})


def test_erk_by_hand():
    """Layers of 128, 144 and 8 weights have 16 + 8, 4 + 4 + 3 + 3 and 4 + 2 shares; the last has room for 8."""
    scores = Scores({"a": torch.rand(16, 8), "b": torch.rand(4, 4, 3, 3), "c": torch.rand(4, 2)})
    counts = [[int(m.sum()) for m in select(scores, Masks.dense(), keep, "erk").values()] for keep in (44, 84)]
    assert counts == [[24, 14, 6], [48, 28, 8]]


PATTERN = [[9, 1, 2, 8, 3, 4, 6, 5]]


@pytest.mark.parametrize(
    ("scores", "alive", "expected"),
    [
        (PATTERN, None, [[T, F, F, T, F, F, T, T]]),
        ([[1, 1, 1, 1, 0, 0, 0, 0]], None, [[T, T, F, F, T, T, F, F]]),
        (PATTERN, [[F, T, T, F, T, F, F, F]], [[F, T, T, F, T, F, F, F]]),  # fewer are alive than may stay
    ],
)
def test_two_of_four(scores, alive, expected):
    masks = Masks({} if alive is None else {"a": torch.tensor(alive)})
    kept = select_pattern(Scores({"a": torch.tensor(scores, dtype=torch.float32)}), masks, (2, 4), {"a": 1})
    assert kept["a"].tolist() == expected


def test_patterns_run_along_the_input_axis_of_convolutions():
    score = torch.rand(3, 8, 2, 2, generator=torch.Generator().manual_seed(0))
    kept = select_pattern(Scores({"a": score}), Masks.dense(), (1, 4), {"a": 1})["a"]
    assert (kept.unflatten(1, (2, 4)).sum(2) == 1).all()
    assert torch.equal(score.unflatten(1, (2, 4)).amax(2), (score * kept).unflatten(1, (2, 4)).sum(2))


@pytest.mark.parametrize(("scope", "pattern"), [("2:4", (2, 4)), ("1:16", (1, 16)), ("global", None), ("a:4", None)])
def test_what_is_a_pattern(scope, pattern):
    assert pattern_of(scope) == pattern


def test_a_pattern_keeps_fewer_than_there_are():
    with pytest.raises(PrunectlError, match="keeps N of every M weights and needs N < M, such as 2:4; got 4:4"):
        pattern_of("4:4")


def test_what_goes_in_is_left_alone():
    score, mask = torch.tensor([3.0, 2.0, 1.0]), torch.tensor([True, False, True])
    select(Scores({"a": score}), Masks({"a": mask}), 1)
    assert score.tolist() == [3, 2, 1]
    assert mask.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("keep", "scope", "message"),
    [
        (1, "global", "2 layers need at least one weight each, but only 1 would stay; use less sparsity"),
        (1, "layer", "2 layers need at least one weight each, but only 1 would stay; use less sparsity"),
        (4, "global", "only 3 weights are left, but 4 should stay; use more sparsity"),
        (4, "layer", "only 3 weights are left, but 4 should stay; use more sparsity"),
        (2, "world", "no scope named 'world'; known: global, layer, output, erk, lamp, 2:4"),
    ],
)
def test_what_cannot_be_selected(keep, scope, message):
    scores = Scores({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([1.0, 2.0])})
    with pytest.raises(PrunectlError) as error:
        select(scores, Masks({"a": torch.tensor([True, False])}), keep, scope)
    assert str(error.value) == message


# --- shares of layers


@pytest.mark.parametrize(
    ("sizes", "room", "total", "expected"),
    [
        ([100, 300], [100, 300], 4, [1, 3]),
        ([10, 10, 10], [10, 10, 10], 4, [2, 1, 1]),  # of equal claims the earlier
        ([1, 99], [1, 99], 2, [1, 1]),  # at least one each
        ([1, 1000], [1, 1000], 3, [1, 2]),
        ([50, 50], [2, 50], 10, [2, 8]),  # no more than there is room for
        ([5, 5], [0, 5], 4, [0, 4]),
        ([10, 15], [10, 15], 6, [2, 4]),  # 2.4 and 3.6
        ([4, 4], [4, 4], 8, [4, 4]),
    ],
)
def test_shares(sizes, room, total, expected):
    assert apportion(sizes, room, total) == expected


@given(st.data())
@settings(deadline=None)
def test_shares_are_exact_and_keep_within_their_limits(data):
    sizes = data.draw(st.lists(st.integers(1, 1000), min_size=1, max_size=8))
    room = [data.draw(st.integers(1, size)) for size in sizes]
    total = data.draw(st.integers(len(sizes), sum(room)))
    shares = apportion(sizes, room, total)
    assert sum(shares) == total
    assert all(1 <= share <= limit for share, limit in zip(shares, room, strict=True))


@given(st.data())
@settings(deadline=None)
def test_shares_are_proportional_where_nothing_limits_them(data):
    sizes = data.draw(st.lists(st.integers(50, 1000), min_size=1, max_size=8))
    least = -(-sum(sizes) // min(sizes))  # the smallest layer has a claim to 1
    total = data.draw(st.integers(least, sum(sizes)))
    for share, size in zip(apportion(sizes, sizes, total), sizes, strict=True):
        assert abs(share * sum(sizes) - total * size) < sum(sizes)  # less than one away from total * size / sum(sizes)
