"""Rankings that do not collapse: ceilings of groups, scopes that share, nodes that go back, thin groups."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.criteria.network_slimming import scales
from prunectl.errors import OptionError
from prunectl.pruning.budget import Budget
from prunectl.pruning.ceiling import ceiling_for, sparsity_for, thin_groups
from prunectl.pruning.multiples import original_sizes
from prunectl.pruning.prune import prune
from prunectl.pruning.ranking import rank
from prunectl.pruning.rules import NodeRules
from prunectl.pruning.sharing import erk_density, isomorphic_parts
from prunectl.pruning.shrink import shrink
from prunectl.structure.costs import costs_without
from prunectl.structure.node_masks import dead_nodes
from prunectl.structure.nodes import Structure
from prunectl.structure.trace import trace
from tests.helpers.criterion_networks import NETWORKS, SHAPE, chain
from tests.helpers.networks import fresh_checkpoint, image_data, randomise_


def layers(*sizes: int) -> Structure:
    """A structure of layers of these sizes."""
    bounds = np.cumsum([0, *sizes]).tolist()
    axes = {(f"{i}.weight", 0): torch.arange(bounds[i], bounds[i + 1]) for i in range(len(sizes))}
    return Structure(axes, bounds[-1])


def everything(structure: Structure) -> torch.Tensor:
    return torch.ones(structure.nodes, dtype=torch.bool)


# --- the ceiling of a group


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.floats(0.05, 1), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_no_group_loses_more_than_its_ceiling(sizes, most, random) -> None:
    structure = layers(*sizes)
    scores = torch.tensor([random.random() for _ in range(structure.nodes)])
    ranking = rank(structure, scores, everything(structure), max_pruned=most)
    lost = torch.bincount(structure.groups[ranking.removed(len(ranking.order))], minlength=len(sizes))
    for size, gone in zip(sizes, lost.tolist(), strict=True):
        assert gone == min(size - 1, math.floor(most * size + 1e-9))


def test_a_ceiling_is_a_share_of_the_whole_group_not_of_what_is_left() -> None:
    """Six of ten are gone already; at most 0.7 of them may go, so one more, the worst."""
    structure, scores = layers(10), torch.arange(10.0)
    ranking = rank(structure, scores, torch.arange(10) > 5, max_pruned=0.7)
    assert ranking.order.tolist() == [6]
    smaller = layers(4)  # the same after a shrink
    ranking = rank(smaller, torch.arange(4.0), everything(smaller), max_pruned=0.7, sizes=torch.tensor([10]))
    assert ranking.order.tolist() == [0]


@pytest.mark.parametrize(
    ("sparsity", "ceiling"), [(0.3, 0.9), (0.6, 0.9), (0.8, 0.95), (0.9, 0.975), (0.93, 0.9825), (0.99, 0.9975)]
)
def test_the_ceiling_of_a_sparsity(sparsity, ceiling) -> None:
    assert ceiling_for(sparsity) == ceiling


def test_a_quarter_of_the_costs_is_half_of_the_nodes() -> None:
    assert [sparsity_for(share) for share in (1.0, 0.25, 0.01, 2.0)] == [0, 0.5, 0.9, 0]


def test_sizes_before_a_shrink() -> None:
    start = fresh_checkpoint(chain, SHAPE, randomise_)
    shapes = {name: parameter.shape for name, parameter in start.model.named_parameters()}
    once = shrink(prune(start, image_data(), criterion="structured-random", sparsity=0.5, batch_size=16))
    structure = trace(once.model, SHAPE)
    assert torch.bincount(structure.groups).tolist() != [4, 6, 8]
    assert original_sizes(structure, structure.groups, shapes).tolist() == [4, 6, 8]
    assert original_sizes(structure, structure.groups, {}).tolist() == torch.bincount(structure.groups).tolist()


@pytest.mark.parametrize("most", [0.5, 0.75])
def test_what_a_ceiling_forbids_is_refused(most) -> None:
    start = fresh_checkpoint(chain, SHAPE, randomise_)
    with pytest.raises(OptionError, match=rf"no group losing more than {most} \(`max_pruned`\); ask for less"):
        prune(start, None, criterion="structured-random", sparsity=0.8, rules=NodeRules(max_pruned=most))


def test_a_ceiling_that_nobody_asked_for_gives_way_to_the_target() -> None:
    """The 20 neurons before the kept head stay, so that 38 of 60 are 38 of the 40 others."""
    pruned = prune(fresh_checkpoint(wide, SHAPE), None, criterion="efficient-convnets", sparsity=38 / 60, keep=("5",))
    assert pruned.history[-1].result["thin_groups"] == ["1: 2 of 40"]


# --- scopes


def test_isomorphic_groups_are_ranked_together_and_lose_the_same_share() -> None:
    model = NETWORKS["residual"]()
    structure = trace(model, SHAPE)
    parts = isomorphic_parts(structure, model)
    stream, first, second = (structure.groups == structure.groups[node] for node in (0, 8, 12))
    assert len({*parts[stream].tolist()}) == 1 and {*parts[first].tolist()} == {*parts[second].tolist()}
    assert parts[0] != parts[8]
    scores = torch.cat([torch.full((8,), 9.0), torch.arange(8.0)])  # the first block is worth less
    removed = rank(structure, scores, everything(structure), scope="isomorphic", model=model).removed(8)
    assert [int(removed[part].sum()) for part in (stream, first, second)] == [4, 3, 1]  # the best of an axis stays


def test_erk_keeps_in_proportion_to_its_density() -> None:
    """5 x 9 + 13 = 58 of 9 · 45; a layer of 13 + 45 indices and 585 weights keeps about 58/585 of it."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 3))
    structure = trace(model, SHAPE)
    density = np.array([(64 + 20) / (64 * 20), (20 + 30) / (20 * 30)])
    assert erk_density(structure, model).tolist() == pytest.approx(density.tolist())
    ranking = rank(structure, torch.rand(50), everything(structure), scope="erk", model=model)
    for count in range(5, 45):
        kept = ~ranking.removed(count)
        factor = (50 - count) / (density * [20, 30]).sum()
        wanted = np.minimum(factor * density, 1) * [20, 30]
        if factor * density.max() < 1:
            assert abs(int(kept[:20].sum()) - wanted[0]) <= 1 and abs(int(kept[20:].sum()) - wanted[1]) <= 1


def test_lamp_of_nodes_against_a_loop() -> None:
    structure, scores = layers(4, 3), torch.tensor([4.0, 1, 3, 2, 10, 30, 20])
    values = [0.0] * 7
    for group in (range(4), range(4, 7)):
        for i in group:
            values[i] = float(scores[i] ** 2 / sum(scores[j] ** 2 for j in group if scores[j] >= scores[i]))
    expected = [i for i in sorted(range(7), key=lambda i: values[i]) if i not in (0, 5)]  # the best of each stays
    assert rank(structure, scores, everything(structure), scope="lamp").order.tolist() == expected


def test_what_a_criterion_says_nothing_about_goes_last_in_every_scope() -> None:
    structure, unscored = layers(3, 3), torch.tensor([False] * 3 + [True] * 3)
    for scope in ("global", "layer", "lamp"):
        ranking = rank(structure, torch.ones(6), everything(structure), scope=scope, unscored=unscored)
        assert ranking.order.tolist() == [2, 1, 5, 4], scope


@pytest.mark.parametrize("criterion", ["lamp", "erk", "magnitude", "random", "snip"])
def test_weight_criteria_for_nodes_leave_every_group_its_share(criterion) -> None:
    start = fresh_checkpoint(NETWORKS["residual"], SHAPE, randomise_)
    pruned = prune(start, image_data(), criterion=criterion, unit="nodes", sparsity=0.5, batch_size=16)
    structure, entry = trace(pruned.model, SHAPE), pruned.history[-1]
    assert (entry.options["normalize"], entry.result["max_pruned"]) == ("l2", 0.9)
    assert "max_pruned" not in entry.options  # it follows from the target
    gone = dead_nodes(structure, pruned.masks, pruned.model)
    lost = torch.bincount(structure.groups[gone], minlength=3)[: int(structure.groups.max()) + 1]
    assert (lost <= 0.9 * torch.bincount(structure.groups)).all()


# --- budgets


def cost_of(pruned: Checkpoint, structure: Structure, gone: torch.Tensor, kind: str) -> int:
    costs = costs_without(structure, pruned.model, gone)
    return {"params": costs.parameters, "flops": costs.flops, "size": costs.bytes}[kind]


@pytest.mark.parametrize("multiple", [1, 2])
@pytest.mark.parametrize(("kind", "text"), [("flops", "4x"), ("size", "2x")])
@pytest.mark.parametrize("criterion", ["efficient-convnets", "snapit"])
def test_within_a_budget_no_node_could_go_back(criterion, kind, text, multiple) -> None:
    start, data, rules = fresh_checkpoint(chain, SHAPE, randomise_), image_data(), NodeRules(multiple_of=multiple)
    asked = Budget.read(kind, text)
    pruned = prune(start, data, criterion=criterion, budget=asked, rules=rules, batch_size=16)
    again = prune(start, data, criterion=criterion, budget=asked, rules=rules, batch_size=16)
    assert all(torch.equal(pruned.masks[name], again.masks[name]) for name in pruned.masks)
    structure = trace(pruned.model, SHAPE)
    gone = dead_nodes(structure, pruned.masks, pruned.model)
    none = torch.zeros_like(gone)
    limit = asked.limit(cost_of(start, structure, none, kind))
    alive = {name: pruned.masks.of(name, parameter) for name, parameter in start.model.named_parameters()}
    for name, parameter in start.model.named_parameters():  # what went in an early round and returns is as it was
        assert torch.equal(pruned.model.get_parameter(name), parameter * alive[name])
    assert cost_of(pruned, structure, gone, kind) <= limit
    for group in range(3):
        own = torch.nonzero(gone & (structure.groups == group)).flatten()
        left = int((~gone & (structure.groups == group)).sum())
        assert left % multiple == 0 or not len(own)
        if len(own):
            more = gone.index_fill(0, own[:multiple], False)
            assert cost_of(pruned, structure, more, kind) > limit


def test_without_refill_a_budget_is_met_by_the_ranking_alone() -> None:
    start, asked = fresh_checkpoint(chain, SHAPE, randomise_), Budget.read("flops", "4x")
    found = {}
    for refill in (True, False):
        pruned = prune(start, None, criterion="efficient-convnets", budget=asked, rules=NodeRules(refill=refill))
        assert pruned.history[-1].options["refill"] is refill
        found[refill] = pruned.history[-1].result["flops"]
    assert found[False] < found[True] <= start.dense.flops / 4


# --- criteria


def test_network_slimming_takes_the_mean_over_coupled_norms() -> None:
    model = NETWORKS["residual"]()
    with torch.no_grad():
        for norm, value in zip((model.stem[1], model.blocks[0][4], model.blocks[1][4]), (3.0, -1.0, 2.0), strict=True):
            norm.weight.fill_(value)
        model.blocks[0][1].weight.fill_(0.5)
    structure = trace(model, SHAPE)
    assert scales(model, iter(()), structure).nodes.tolist() == [2] * 8 + [0.5] * 4 + [1] * 4


def test_channels_of_the_image_go_by_what_reads_them() -> None:
    def colours() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))

    start = fresh_checkpoint(colours, (3, 8, 8))
    with torch.no_grad():
        start.model[0].weight[:, [0, 2]] *= 1e-3  # green is what the network reads
    rules = NodeRules(outer_layers=True)
    pruned = prune(start, None, criterion="efficient-convnets", sparsity=0.6, rules=rules)
    assert pruned.masks["0.weight"].flatten(2).any(2).any(0).tolist() == [False, True, False]


# --- groups that are left thin


def test_thin_groups_are_named() -> None:
    structure = layers(20, 5, 40)
    gone = torch.cat([torch.arange(20) > 0, torch.arange(5) > 0, torch.arange(40) > 3])
    assert thin_groups(structure, gone, torch.tensor([20, 5, 40])) == ["0: 1 of 20"]


def wide() -> nn.Sequential:
    """40 and 20 neurons."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 3))


def test_pruning_records_thin_groups() -> None:
    start = fresh_checkpoint(wide, SHAPE)
    with torch.no_grad():
        start.model[1].weight *= 1e-3
    rules = NodeRules(normalize="none", max_pruned=1.0)
    raw = prune(start, None, criterion="magnitude", unit="nodes", sparsity=0.65, rules=rules)
    assert raw.history[-1].result["thin_groups"] == ["1: 1 of 40"]
    assert (
        "thin_groups" not in prune(start, None, criterion="magnitude", unit="nodes", sparsity=0.65).history[-1].result
    )
