"""--multiple-of auto: multiples of eight in groups of more than 16 nodes, any number in others, and exact targets."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.load import load_data
from prunectl.errors import OptionError
from prunectl.models.fresh import fresh
from prunectl.pruning.budget import Budget
from prunectl.pruning.multiples import Multiples
from prunectl.pruning.prune import prune
from prunectl.pruning.ranking import rank
from prunectl.pruning.refill import refilled
from prunectl.pruning.rules import NodeRules
from prunectl.pruning.shrink import shrink
from prunectl.structure.nodes import Structure
from tests.helpers.networks import checkpoint_of

AUTO = NodeRules(multiple_of="auto")
SHAPE = (1, 4, 4)


def layers(*sizes: int) -> Structure:
    """A group of nodes of each size, on an axis of its own."""
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    axes = {(f"{i}.weight", 0): torch.arange(start, start + sizes[i]) for i, start in enumerate(starts)}
    return Structure(axes, sum(sizes))


def network(*widths: int) -> Checkpoint:
    """A multilayer perceptron with hidden layers of these widths."""
    torch.manual_seed(0)
    hidden = [part for sizes in pairwise((16, *widths)) for part in (nn.Linear(*sizes), nn.ReLU())]
    return checkpoint_of(nn.Sequential(nn.Flatten(), *hidden, nn.Linear(widths[-1], 3)), SHAPE)


def widths_of(pruned: Checkpoint) -> list[int]:
    small = shrink(pruned).model if pruned.masks else pruned.model
    return [m.out_features for m in small.modules() if isinstance(m, nn.Linear)][:-1]


def test_wide_groups_go_in_eights_and_narrow_ones_node_by_node() -> None:
    structure = layers(20, 10)
    multiples = Multiples.of(structure, "auto")
    assert multiples.counts == {"1": 1, "8": 1}
    ranking = rank(structure, torch.arange(30.0), torch.ones(30) > 0, multiples=multiples)
    kept = [(20 - int(r[:20].sum()), 10 - int(r[20:].sum())) for r in map(ranking.removed, range(29))]
    assert kept == [(16, 10)] * 12 + [(8, 10)] * 8 + [(8, left) for left in range(9, 0, -1)]


@pytest.mark.parametrize(
    ("multiple", "widths", "steps"),
    [("auto", (16, 17, 3, 64), [1, 8, 1, 8]), (4, (16, 17, 3, 64), [4] * 4), (1, (16, 17), [1, 1])],
)
def test_the_step_of_every_group(multiple, widths, steps) -> None:
    multiples = Multiples.of(layers(*widths), multiple)
    assert multiples.steps[multiples.kinds[[sum(widths[:i]) for i in range(len(widths))]]].tolist() == steps


def test_a_group_that_was_wide_before_a_shrink_stays_in_eights() -> None:
    shapes = {"0.weight": torch.Size([64, 5]), "1.weight": torch.Size([12, 64])}
    assert Multiples.of(layers(16, 12), "auto", shapes).counts == {"1": 1, "8": 1}
    assert Multiples.of(layers(16, 12), "auto").counts == {"1": 2}
    start = fresh("lenet300", load_data("digits"), source="digits")  # 300 and 100 hidden neurons
    once = prune(start, None, criterion="depgraph", sparsity=0.94, rules=AUTO)
    again = prune(shrink(once), None, criterion="depgraph", sparsity=0.96, rules=AUTO)
    assert (sum(widths_of(once)), sum(widths_of(again))) == (24, 16)
    assert again.history[-1].result["multiples"] == {"8": 2}


def test_what_goes_back_is_a_whole_step_of_its_group() -> None:
    """Nodes 0 to 19 are wide, 20 to 24 narrow; 8 of the wide and 2 of the narrow went, the narrow ones last."""
    structure, went = layers(20, 5), torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 20, 21])
    multiples = Multiples.of(structure, "auto")
    eight = list(range(8))
    for least, left in ((10, [*eight, 20, 21]), (9, [*eight, 20]), (8, eight), (1, eight), (0, [])):
        back = refilled(went, multiples, lambda removed, least=least: int(removed.sum()) >= least)
        assert back.nonzero().flatten().tolist() == left


@given(st.lists(st.integers(2, 45), min_size=1, max_size=3), st.floats(0.05, 0.85), st.sampled_from([1, 3]))
@settings(deadline=None, max_examples=10)
@pytest.mark.long
def test_every_wide_group_keeps_a_multiple_of_eight_and_narrow_ones_make_the_count_exact(
    sizes, sparsity, steps
) -> None:
    start = network(*sizes)
    nodes = start.dense.nodes
    try:
        pruned = prune(
            start, None, criterion="depgraph", sparsity=sparsity, schedule="exponential", steps=steps, rules=AUTO
        )
    except OptionError as error:  # too much for what must stay, or nothing
        assert "is the maximum" in str(error) or "already" in str(error)
        return
    now = widths_of(pruned)
    assert all(left % 8 == 0 and left > 0 for left, size in zip(now, sizes, strict=True) if size > 16)
    keep = nodes - round(sparsity * nodes)
    whole = all(left == size for left, size in zip(now, sizes, strict=True) if size <= 16)
    assert sum(now) <= keep and (sum(now) == keep or whole)
    result = pruned.history[-1].result
    assert result["node_sparsity"] == pytest.approx(1 - sum(now) / nodes)
    assert result["multiples"].get("8", 0) == sum(size > 16 for size in sizes)
    assert "odd_widths" not in result


@pytest.mark.long
@given(st.lists(st.integers(2, 45), min_size=2, max_size=3), st.sampled_from(["1.3x", "2x", "3x"]))
@settings(deadline=None, max_examples=8)
def test_a_budget_is_met_and_no_step_of_any_group_fits_any_more(sizes, text) -> None:
    start, asked = network(*sizes), Budget.read("flops", text)
    try:
        pruned = prune(start, None, criterion="depgraph", budget=asked, rules=AUTO)
    except OptionError as error:
        assert "is the minimum" in str(error)
        return

    def flops(widths: list[int]) -> int:
        return 2 * sum(a * b for a, b in pairwise([16, *widths, 3]))

    now, limit = widths_of(pruned), asked.limit(start.dense.flops)
    assert all(left % 8 == 0 for left, size in zip(now, sizes, strict=True) if size > 16)
    assert pruned.history[-1].result["flops"] == flops(now) <= limit
    for i, size in enumerate(sizes):
        step = 8 if size > 16 else 1
        if now[i] + step <= size:
            assert flops([*now[:i], now[i] + step, *now[i + 1 :]]) > limit


def test_channels_of_the_image_which_no_sparsity_counts_do_not_go_back() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 24, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 3))
    with torch.no_grad():
        model[0].weight[:, [0, 2]] *= 1e-3  # green is what the network reads
    rules = NodeRules(multiple_of="auto", outer_layers=True)
    pruned = prune(checkpoint_of(model, (3, 8, 8)), None, criterion="efficient-convnets", sparsity=0.6, rules=rules)
    assert pruned.masks["0.weight"].flatten(2).any(2).any(0).tolist() == [False, True, False]
    assert pruned.history[-1].result["node_sparsity"] == pytest.approx(2 / 3)  # 8 of 24


def test_a_target_that_multiples_do_not_reach_is_one_line() -> None:
    most = r"node sparsity 0.95 was requested, but 0.6 is the maximum with 1 or more nodes left in every layer, "
    with pytest.raises(OptionError, match=most + "in multiples of 8 in groups of more than 16; ask for less pruning"):
        prune(network(20), None, criterion="depgraph", sparsity=0.95, rules=AUTO)


def test_the_command_says_what_was_kept_and_the_history_holds_it(net, raw) -> None:
    ran = raw("prune", net.name, "-c", "depgraph", "-s", 0.5, "--multiple-of", "auto", "-o", "auto.safetensors")
    assert ran.code == 0, ran.err
    assert "widths: multiples of 8 in 2 groups\n" in ran.err
    assert " --multiple-of auto " in " ".join(raw("log", "auto.safetensors").out.split())
    assert "hint: " not in raw("shrink", "auto.safetensors", "-o", "small.safetensors").err


@pytest.mark.parametrize("text", ["autos", "0", "-3", "2.5", ""])
def test_another_multiple_is_one_line(text, net, raw) -> None:
    ran = raw("prune", net.name, "-c", "depgraph", "-s", 0.5, "--multiple-of", text, "-o", "auto.safetensors")
    assert ran.code == 2
    assert "expected a whole number of 1 or more, or auto" in " ".join(ran.err.split())
    with pytest.raises(OptionError, match="`multiple_of` must be a whole number of 1 or more, or auto, got"):
        prune(network(20), None, criterion="depgraph", sparsity=0.5, rules=NodeRules(multiple_of=text))
