"""Channel permutation for patterns: more is kept, and the network computes what it did."""

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn

from prunectl.checkpoints.options.repair import RepairOptions
from prunectl.criteria.base.permutation import better_columns, permute_channels_
from prunectl.errors import OptionError
from prunectl.masks import prunable
from prunectl.pruning.prune import prune
from prunectl.pruning.repair.repair import repair
from prunectl.structure.order import reorder_
from prunectl.structure.trace import named_tensors, trace
from tests.helpers.criterion_networks import NETWORKS, SHAPE
from tests.helpers.marks import one_in
from tests.helpers.networks import fresh_checkpoint, image_data, randomise_
from tests.helpers.toys import TOYS

TWO_OF_FOUR = (2, 4)
SOME = (
    *("chunk-gate", "channel-shuffle", "pixel-shuffle", "flatten-spatial", "slice-channels", "unequal-split"),
    *("grouped-2", "conv-transpose-grouped", "tied-linear", "shared-on-branches", "dense-concat", "convnext"),
    *("group-norm-4", "multihead-attention", "lstm", "hypernetwork"),
)


def kept(rows: Tensor) -> float:
    """What 2 of every 4 columns keep, counted group by group."""
    groups = rows.reshape(len(rows), -1, 4).tolist()
    return sum(sum(sorted(group)[2:]) for row in groups for group in row)


@pytest.mark.parametrize("seed", range(3))
def test_no_swap_of_two_columns_keeps_more(seed: int) -> None:
    torch.manual_seed(seed)
    rows, movable = torch.rand(5, 12), torch.tensor([0, 1, 2, 4, 5, 7, 8, 9, 11])
    source = better_columns(rows, movable, TWO_OF_FOUR)
    assert sorted(source.tolist()) == list(range(12))
    assert all(int(source[i]) == i for i in (3, 6, 10))
    found = kept(rows[:, source])
    assert found > kept(rows)
    for i, j in itertools.combinations(movable.tolist(), 2):
        other = source.clone()
        other[i], other[j] = source[j], source[i]
        assert kept(rows[:, other]) <= found * (1 + 1e-6)


@pytest.mark.parametrize("name", one_in(3, [*NETWORKS, *SOME]))
def test_the_network_computes_what_it_did(name: str) -> None:
    torch.manual_seed(0)
    build, shape = (NETWORKS[name], SHAPE) if name in NETWORKS else TOYS[name]
    model = randomise_(build()).double().eval()
    before, images = copy.deepcopy(model), torch.randn(3, *shape, dtype=torch.float64)
    permute_channels_(model, shape, "1:2", (), permute=True)
    torch.testing.assert_close(model(images), before(images), rtol=1e-9, atol=1e-9)


def test_all_that_belongs_to_a_channel_moves_with_it() -> None:
    model = randomise_(NETWORKS["residual"]()).eval()
    structure, before = trace(model, SHAPE), copy.deepcopy(model)
    groups = structure.groups
    stream = torch.nonzero(groups == groups[0]).flatten()
    order = torch.arange(structure.nodes)
    order[stream] = stream.roll(3)
    reorder_(named_tensors(model), structure, order)
    images = torch.randn(4, *SHAPE)
    torch.testing.assert_close(model(images), before(images), rtol=1e-4, atol=1e-5)
    assert model.stem[0].weight.equal(before.stem[0].weight.roll(3, 0))
    assert model.stem[1].running_mean.equal(before.stem[1].running_mean.roll(3, 0))
    assert model.head.weight.equal(before.head.weight.roll(3, 1))


def test_n_m_keeps_more_with_permuted_channels_and_is_repaired_at_once() -> None:
    begun, data = fresh_checkpoint(NETWORKS["residual"], SHAPE, randomise_), image_data()
    options = {"criterion": "n:m", "batch_size": 16}
    plain, moved = prune(begun, data, **options), prune(begun, data, options={"permute": "true"}, **options)
    sums = [sum(float(w.detach().abs().sum()) for w in prunable(made.model).values()) for made in (plain, moved)]
    assert sums[1] > sums[0] + 0.5
    assert moved.history[-1].options["options"] == {"permute": True}
    assert moved.history[-1].result["weight_sparsity"] == plain.history[-1].result["weight_sparsity"]
    for mask in (moved.masks[name] for name, w in prunable(moved.model).items() if w.shape[1] % 4 == 0):
        assert bool((mask.unflatten(1, (-1, 4)).sum(2) == 2).all())
    fitted = prune(begun, data, options={"permute": "true"}, repair="refit", **options)
    errors = fitted.history[-1].result["layers"]
    assert sum(layer["after"] for layer in errors) < 0.9 * sum(layer["before"] for layer in errors)
    with pytest.raises(OptionError, match="pruning permuted the channels of this network"):
        repair(moved, data, RepairOptions("refit"), reference=begun)


def test_what_cannot_be_permuted() -> None:
    begun = fresh_checkpoint(NETWORKS["chain"], SHAPE, randomise_)
    masked = prune(begun, None, criterion="magnitude", sparsity=0.1)
    with pytest.raises(OptionError, match="`permute` reorders a dense network, but this one has masks"):
        prune(masked, None, criterion="n:m", options={"permute": "true"})
    with pytest.raises(OptionError, match="`permute` orders channels for a pattern"):
        prune(begun, None, criterion="n:m", scope="layer", sparsity=0.5, options={"permute": "true"})


def test_a_layer_that_stays_is_not_permuted() -> None:
    layers = [nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)]
    model = randomise_(nn.Sequential(*layers))
    before = copy.deepcopy(model)
    permute_channels_(model, SHAPE, "2:4", ("5",), permute=True)
    assert model[5].weight.equal(before[5].weight)
    assert not model[3].weight.equal(before[3].weight)
    assert model[3].weight.sort(1).values.equal(before[3].weight.sort(1).values)
