"""Pruning of weights never cuts the last path from the image to the outputs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunectl.masks import Masks, prunable
from prunectl.pruning.connected import select_connected, unreached_classes
from prunectl.pruning.prune import prune
from prunectl.pruning.reachability import Reachability
from prunectl.pruning.select import SCOPES, select
from prunectl.scores import Scores
from tests.helpers.criterion_networks import NETWORKS, SHAPE
from tests.helpers.networks import checkpoint_of, image_data, randomise_

T, F = True, False
FLAT = (1, 1, 2)


def chain() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))


def test_one_path_stays_by_its_scores() -> None:
    """The best weights of the layers do not meet: 1.weight makes node 0, 3.weight reads node 1."""
    scores = Scores(
        {
            "1.weight": torch.tensor([[9.0, 1.0], [2.0, 3.0]]),
            "3.weight": torch.tensor([[5.0, 8.0], [1.0, 6.0]]),
            "5.weight": torch.tensor([[4.0, 7.0], [2.0, 1.0]]),
        }
    )
    cut = select(scores, Masks.dense(), 3)
    assert not Reachability(chain(), FLAT).reaches(cut)
    kept = select_connected(chain(), FLAT, scores, Masks.dense(), 3)
    assert kept["1.weight"].tolist() == [[T, F], [F, F]]
    assert kept["3.weight"].tolist() == [[T, F], [F, F]]  # the best that reads node 0
    assert kept["5.weight"].tolist() == [[T, F], [F, F]]
    assert Reachability(chain(), FLAT).reaches(kept)


def test_lamp_ranks_by_the_whole_layer_where_a_path_has_to_stay() -> None:
    """Layers whose scores differ in scale alone keep as many weights each, but for those of the path."""
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Flatten(), *(nn.Linear(2 if i == 0 else 8, 8, bias=False) for i in range(4)))
    names = list(prunable(wide))
    ranks = torch.stack([torch.randperm(16).view(8, 2) for _ in names]) + 1.0
    scores = Scores(
        {
            name: nn.functional.pad(10.0**i * ranks[i], (0, prunable(wide)[name].shape[1] - 2), value=1e-6)
            for i, name in enumerate(names)
        }
    )
    for keep in range(4, 24, 4):
        kept = select_connected(wide, FLAT, scores, Masks.dense(), keep, "lamp")
        plain = select(scores, Masks.dense(), keep, "lamp")
        moved = sum(int((kept[name] != plain[name]).sum()) for name in names)
        assert moved <= 2 * len(names)
        assert max(int(mask.sum()) for mask in kept.values()) <= max(int(mask.sum()) for mask in plain.values()) + 1


def test_a_connected_selection_is_that_of_select() -> None:
    torch.manual_seed(0)
    scores = Scores({name: torch.rand_like(w) for name, w in prunable(chain()).items()})
    kept, plain = select_connected(chain(), FLAT, scores, Masks.dense(), 10), select(scores, Masks.dense(), 10)
    assert all(torch.equal(kept[name], plain[name]) for name in plain)


@given(st.integers(0, 10_000), st.sampled_from(sorted(SCOPES)), st.sampled_from(sorted(NETWORKS)))
@settings(deadline=None, max_examples=12)
def test_whatever_the_scores_something_arrives(seed: int, scope: str, network: str) -> None:
    """As few weights as there are layers, in an exact number, also of those that are left of an earlier selection."""
    model = NETWORKS[network]()
    generator = torch.Generator().manual_seed(seed)
    alive, flow = Masks.dense(), Reachability(model, SHAPE)
    layers = len(prunable(model))
    for keep in (4 * layers, layers):
        scores = Scores({name: torch.rand(w.shape, generator=generator) for name, w in prunable(model).items()})
        kept = select_connected(model, SHAPE, scores, alive, keep, scope)
        assert sum(int(mask.sum()) for mask in kept.values()) == keep
        assert flow.reaches(kept)
        assert not any(bool((mask & ~alive[name]).any()) for name, mask in kept.items() if name in alive)
        alive = kept


@pytest.mark.parametrize(
    ("masks", "lost"),
    [
        ({}, []),
        ({"5.weight": [[F, F], [T, F]]}, [0]),
        ({"5.weight": [[F, T], [T, F]], "3.weight": [[F, F], [T, T]]}, [1]),  # class 1 reads what nothing reaches
        ({"1.weight": [[F, F], [F, F]]}, [0, 1]),
    ],
)
def test_classes_that_no_path_reaches(masks: dict[str, list[list[bool]]], lost: list[int]) -> None:
    kept = Masks({name: torch.tensor(mask) for name, mask in masks.items()})
    assert unreached_classes(chain(), FLAT, kept) == lost


def test_lost_classes_stand_in_the_history() -> None:
    begun = checkpoint_of(randomise_(NETWORKS["chain"](), 3), SHAPE)
    sparsity = 1 - len(prunable(begun.model)) / begun.dense.weights
    pruned = prune(begun, image_data(), criterion="magnitude", sparsity=sparsity)
    kept = pruned.masks[list(prunable(pruned.model))[-1]].flatten(1).any(1)
    assert pruned.history[-1].result["unreached_classes"] == torch.nonzero(~kept).flatten().tolist()
    assert len(kept) - int(kept.sum()) == 2
    assert "unreached_classes" not in prune(begun, None, criterion="random", sparsity=0.1).history[-1].result


def test_a_network_that_is_cut_already_is_pruned_on() -> None:
    alive = Masks({"1.weight": torch.zeros(2, 2, dtype=torch.bool)})
    scores = Scores({name: torch.ones_like(w) for name, w in prunable(chain()).items()})
    kept = select_connected(chain(), FLAT, scores, alive, 4)
    assert sum(int(mask.sum()) for mask in kept.values()) == 4


@pytest.mark.parametrize("criterion", ["magnitude", "random", "snip", "cnip"])
def test_a_network_pruned_to_the_bone_still_sees_its_image(criterion: str) -> None:
    model = randomise_(NETWORKS["chain"](), 3)
    begun = checkpoint_of(model, SHAPE)
    layers = len(prunable(model))
    total = begun.dense.weights
    for seed in range(3):
        pruned = prune(begun, image_data(), criterion=criterion, sparsity=1 - layers / total, batch_size=16, seed=seed)
        assert pruned.masks.kept(pruned.model) == layers
        assert Reachability(pruned.model, SHAPE).reaches(pruned.masks)
