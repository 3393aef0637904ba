"""Selection of nodes: an exact count, the lowest first, nothing revived, no axis emptied; their masks and costs."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prunectl.errors import PrunectlError
from prunectl.masks import Masks, prunable
from prunectl.pruning.joint import nodes_left
from prunectl.pruning.multiples import Multiples
from prunectl.pruning.ranking import Ranking, rank
from prunectl.pruning.search import fewest
from prunectl.pruning.select import select
from prunectl.scores import Scores
from prunectl.structure.costs import costs_without
from prunectl.structure.node_masks import dead_nodes, merged, node_masks
from prunectl.structure.nodes import FROZEN, Structure
from prunectl.structure.trace import trace

SCORES = st.integers(0, 3).map(float)  # few different ones: most of them are ties
T, F = True, False


def axes_of(*axes: list[int]) -> Structure:
    """A structure with these axes, by the classes on them."""
    classes = [torch.tensor(axis) for axis in axes]
    return Structure({(f"{i}.weight", 0): axis for i, axis in enumerate(classes)}, max(map(max, axes)) + 1)


@st.composite
def structures(draw: st.DrawFn) -> Structure:
    """Layers of 1 to 6 nodes, of which some are read in a row (concatenated), or spread (flattened) by frozen ones."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    layers, first = [], 0
    for size in sizes:
        layers.append(list(range(first, first + size)))
        first += size
    axes = list(layers)
    axes += [[*one, *other] for one, other in pairwise(layers) if draw(st.booleans())]
    axes += [[n for n in layer for _ in range(2)] + [FROZEN] for layer in layers if draw(st.booleans())]
    return axes_of(*axes)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Structure, Tensor, Tensor]:
    structure = draw(structures())
    count = {"min_size": structure.nodes, "max_size": structure.nodes}
    scores = torch.tensor(draw(st.lists(SCORES, **count)))
    return structure, scores, torch.tensor(draw(st.lists(st.booleans(), **count)))


def best(scores: Tensor, nodes: list[int]) -> list[int]:
    """From the best to the worst; of equal ones the earlier is the better."""
    return sorted(nodes, key=lambda n: (-float(scores[n]), n))


@given(cases(), st.sampled_from(["global", "layer"]), st.integers(1, 3), st.sampled_from([1, 2, 3]))
@settings(deadline=None, max_examples=70)
def test_counts_are_exact_and_nested_and_nothing_is_revived_and_every_axis_keeps_its_nodes(
    case, scope, least, multiple
):
    structure, scores, alive = case
    multiples = Multiples.of(structure, multiple)
    ranking = rank(structure, scores, alive, scope=scope, min_nodes=least, multiples=multiples)
    before = torch.zeros_like(alive)
    for count in range(len(ranking.order) + 1):
        removed = ranking.removed(count)
        assert not (removed & ~alive).any() and not (before & ~removed).any()
        assert int(removed.sum()) == count or multiple > 1
        for classes in structure.axes.values():
            free = classes[classes != FROZEN].unique()
            living = free[alive[free]]
            assert int((~removed[living]).sum()) >= min(least, len(living))
        for kind in multiples.kinds.unique():
            own = multiples.kinds == kind
            had, free = int((alive & own).sum()), int(own[ranking.order].sum())
            kept = had - int((removed & own).sum())
            assert kept % multiple == 0 if had >= multiple and free >= had % multiple else kept == had
        before = removed


@given(cases())
@settings(deadline=None)
def test_the_global_order_is_a_stable_sort_without_the_best_of_every_axis(case):
    structure, scores, alive = case
    living = best(scores, [n for n in range(structure.nodes) if alive[n]])
    stays = {
        best(scores, on_axis)[0]
        for classes in structure.axes.values()
        if (on_axis := [n for n in living if n in classes.tolist()])
    }
    assert rank(structure, scores, alive).order.tolist() == [n for n in reversed(living) if n not in stays]


@given(st.lists(st.integers(8, 60), min_size=1, max_size=5), st.data())
@settings(deadline=None)
def test_scope_layer_takes_the_same_share_of_every_layer(sizes, data):
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    structure = axes_of(*[list(range(start, start + size)) for start, size in zip(starts, sizes, strict=True)])
    scores, alive = torch.rand(structure.nodes), torch.ones(structure.nodes, dtype=torch.bool)
    ranking = rank(structure, scores, alive, scope="layer")
    share = data.draw(st.floats(0, 0.8))
    removed = ranking.removed(round(share * structure.nodes))
    for start, size in zip(starts, sizes, strict=True):
        layer = list(range(start, start + size))
        gone = [n for n in layer if removed[n]]
        assert abs(len(gone) - share * size) <= 1.5
        assert set(gone) == set(best(scores, layer)[size - len(gone) :])


@pytest.mark.parametrize(
    ("axes", "scores", "options", "order"),
    [
        ([[0, 1, 2]], [1, 1, 1], {}, [2, 1]),  # of equal ones the later goes first, the first stays
        ([[0, 1, 2], [3, 4]], [5, 4, 3, 2, 1], {}, [4, 2, 1]),
        ([[0, 1, 2], [3, 4]], [5, 4, 3, 2, 1], {"min_nodes": 2}, [2]),
        ([[0, 1], [2, 3], [0, 1, 2, 3]], [4, 3, 2, 1], {}, [3, 1]),
        ([[0, 1, 2, 3], [4, 5]], [9, 8, 7, 6, 1, 2], {"scope": "layer"}, [3, 4, 2, 1]),  # 7/8, 3/4, 5/8, 3/8
        ([[0, 0, 1, 1, FROZEN]], [1, 2], {}, [0]),
    ],
)
def test_orders(axes, scores, options, order):
    structure = axes_of(*axes)
    alive = torch.ones(structure.nodes, dtype=torch.bool)
    assert rank(structure, torch.tensor(scores), alive, **options).order.tolist() == order


def test_shares_of_layers_are_rounded_to_the_nearest():
    ranking = rank(axes_of(list(range(10)), list(range(10, 25))), torch.rand(25), torch.ones(25) > 0, scope="layer")
    removed = ranking.removed(25 - 6)
    assert (10 - int(removed[:10].sum()), 15 - int(removed[10:].sum())) == (2, 4)  # 2.4 and 3.6


def test_multiples_hold_from_the_first_node_on_and_leave_small_groups_alone():
    structure = axes_of(list(range(10)), [10, 11, 12])
    ranking = rank(structure, torch.arange(13.0), torch.ones(13) > 0, multiples=Multiples.of(structure, 4))
    kept = [(10 - int(r[:10].sum()), 3 - int(r[10:].sum())) for r in map(ranking.removed, range(12))]
    assert kept == [(8, 3)] * 6 + [(4, 3)] * 6
    assert ranking.removed(8).nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_multiples_hold_for_every_axis_of_a_group():
    """Two parts of 6 and 10 nodes that are concatenated, and an odd one of 3 that cannot be a multiple of 4."""
    structure = axes_of(list(range(6)), list(range(6, 16)), list(range(16)), [16, 17, 18])
    multiples = Multiples.of(structure, 4)
    ranking = rank(structure, torch.arange(19.0), torch.ones(19) > 0, multiples=multiples)
    for count in range(len(ranking.order) + 1):
        gone = ranking.removed(count)
        assert multiples.odd_widths(structure, gone) == ["3: 3"]
        assert [int((~gone[part]).sum()) % 4 for part in (slice(6), slice(6, 16))] == [0, 0]


def test_an_unknown_scope():
    with pytest.raises(PrunectlError, match="no scope named 'globl'; did you mean 'global'"):
        rank(axes_of([0, 1]), torch.ones(2), torch.ones(2, dtype=torch.bool), scope="globl")


@given(st.integers(0, 30), st.integers(0, 31))
def test_the_fewest_that_fit(most, limit):
    assert fewest(most, lambda n: n >= limit) == (limit if limit <= most else None)
    tried: list[int] = []
    found = fewest(most, lambda n: tried.append(n) is None and n >= limit, tries=3)
    assert len(tried) <= 3 and (found is None) == (limit > most) and (found is None or found >= limit)


# --- masks


def network() -> nn.Sequential:
    """4 channels of 4 features each, 5 hidden neurons."""
    features = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*features, nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3))


SHAPE = (1, 6, 6)
NETWORK = network()
NETWORK_STRUCTURE = trace(NETWORK, SHAPE)


@given(st.lists(st.booleans(), min_size=9, max_size=9))
@settings(deadline=None)
def test_masks_of_nodes_and_back(removed):
    model, structure, gone = NETWORK, NETWORK_STRUCTURE, torch.tensor(removed)
    masks = node_masks(structure, gone, model)
    assert dead_nodes(structure, masks, model)[gone].all()
    for name, parameter in model.named_parameters():
        expected = torch.ones_like(parameter, dtype=torch.bool)
        for axis in range(parameter.ndim):
            classes = structure.axes.get((name, axis), torch.full((parameter.shape[axis],), FROZEN))
            cut = (classes != FROZEN) & structure.gone(gone)[classes]
            expected.movedim(axis, 0)[cut] = False
        assert torch.equal(masks[name], expected) if name in masks else expected.all()
    if not gone[:4].all() and not gone[4:].all():
        assert torch.equal(dead_nodes(structure, masks, model), gone)


def test_a_mask_of_a_node_covers_all_its_tensors():
    masks = node_masks(trace(network(), SHAPE), torch.arange(9) == 1, network())
    assert sorted(masks) == ["0.bias", "0.weight", "1.bias", "1.weight", "5.weight"]
    assert [bool(masks[name].flatten(1).any(1)[1]) for name in ("0.weight",)] == [False]
    assert masks["1.bias"].tolist() == masks["0.bias"].tolist() == [T, F, T, T]
    assert masks["5.weight"][0].tolist() == [T] * 4 + [F] * 4 + [T] * 8


def test_a_node_with_a_weight_or_a_bias_left_is_not_dead():
    model = network()
    structure = trace(model, SHAPE)
    masks = dict(node_masks(structure, torch.arange(9) == 6, model))
    assert dead_nodes(structure, Masks(masks), model).tolist() == [F] * 6 + [T] + [F] * 2
    for name in masks:
        others = Masks({key: mask for key, mask in masks.items() if key != name})
        assert not dead_nodes(structure, others, model).any()
    assert not dead_nodes(structure, Masks.dense(), model).any()


def test_masks_are_merged():
    one, other = Masks({"a": torch.tensor([T, F]), "b": torch.tensor([T])}), Masks({"a": torch.tensor([F, T])})
    both = merged(one, other)
    assert both["a"].tolist() == [F, F] and both["b"].tolist() == [T] and len(both) == 2


def test_costs_in_numbers():
    model = network()
    removed = torch.tensor([T, F, F, F, T, T, F, F, F])  # 3 channels of 3x3 (+ 6x6 -> 4x4), 12 -> 3 -> 3
    costs = costs_without(trace(model, SHAPE), model, removed)
    parameters = 3 * (9 + 1 + 2) + 3 * (12 + 1) + 3 * (3 + 1)
    assert (costs.parameters, costs.flops) == (parameters, 2 * (3 * 9 * 16 + 12 * 3 + 3 * 3))
    assert costs.bytes == 4 * (parameters + 2 * 3) + 8  # running statistics, and one int64


# --- weights and nodes together


def selected_both(structure, model, scores, ranking, keep):
    """Nodes go, then weights."""
    left = nodes_left(structure, model, scores, ranking, Masks.dense(), keep)
    return Masks({**left, **select(scores, left, keep)})


PAIR = nn.Sequential(nn.Flatten(), nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
PAIR_STRUCTURE = trace(PAIR, (1, 1, 2))


@given(st.data())
@settings(deadline=None)
def test_weights_and_nodes_fall_below_one_line(data):
    """What goes: the lowest-ranked nodes, then weights; no node that stays could have gone within the target."""
    model, structure = PAIR, PAIR_STRUCTURE
    draw = st.integers(0, 9).map(float)
    scores = Scores(
        {n: torch.tensor(data.draw(st.lists(draw, min_size=w.numel(), max_size=w.numel()))).view_as(w)
         for n, w in prunable(model).items()},
        torch.tensor(data.draw(st.lists(st.integers(0, 30).map(float), min_size=4, max_size=4))),
    )  # fmt: skip
    keep = data.draw(st.integers(2, 19))
    ranking = rank(structure, scores.nodes, torch.ones(4, dtype=torch.bool))
    masks = selected_both(structure, model, scores, ranking, keep)
    assert sum(int(masks[name].sum()) for name in prunable(model)) == keep
    gone = [not bool(kept) for kept in masks.get("1.bias", torch.ones(4))]
    assert gone == ranking.removed(sum(gone)).tolist()

    def kept(count: int) -> int:
        """Weights that stay when the line is right behind a node of the ranking."""
        line, left = scores.nodes[ranking.order[count - 1]], node_masks(structure, ranking.removed(count), model)
        return sum(int(((scores[n] >= line) & left.get(n, torch.tensor(True))).sum()) for n in prunable(model))

    assert sum(gone) == sum(kept(count) >= keep for count in range(1, len(ranking.order) + 1))


def test_without_nodes_that_can_go_only_weights_do():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 3))
    structure = trace(model, (1, 1, 2))
    scores = Scores({"1.weight": torch.ones(1, 2), "3.weight": torch.ones(3, 1)}, torch.zeros(1))
    ranking = Ranking(torch.empty(0, dtype=torch.int64), torch.ones(1, dtype=torch.bool))
    assert selected_both(structure, model, scores, ranking, 3)["1.weight"].tolist() == [[T, T]]
