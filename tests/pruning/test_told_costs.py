"""What `prune` says of a network is what `eval` finds in it, and what `shrink` leaves of it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.criteria.base.criterion import criterion_named
from prunectl.measuring.evaluate import costs
from prunectl.models.fresh import fresh
from prunectl.plugins.registry import TABLES
from prunectl.pruning.prune import prune
from prunectl.pruning.rules import NodeRules
from prunectl.pruning.shrink import shrink
from tests.helpers.marks import one_in, quick
from tests.helpers.networks import fresh_checkpoint, image_data, randomise_
from tests.helpers.node_networks import SHAPE, Chain, Residual

COSTS = ("parameters", "flops", "bytes")
METHODS = {name: criterion_named(name) for name in TABLES["criterion"]}
OF_NODES = [name for name, method in METHODS.items() if method.unit != "weights" and not method.needs_training]


class Blocks(nn.Module):
    """Two residual blocks with BatchNorm, no bias, and padding; the second leads to a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.one, self.norm1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.two, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.three, self.four = nn.Conv2d(8, 12, 3), nn.Conv2d(12, 8, 1)
        self.hidden, self.head = nn.Linear(8 * 36, 10), nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(x)).relu()
        x = x + self.norm2(self.two(self.norm1(self.one(x)).relu()))
        x = self.four(self.three(x.relu()).relu())
        return self.head(self.hidden(x.flatten(1)).relu())


NETWORKS = {"chain": Chain, "residual": Residual, "blocks": Blocks}


def assert_true(pruned: Checkpoint) -> None:
    told, masked, small = pruned.history[-1].result, costs(pruned), costs(shrink(pruned))
    assert {key: told[key] for key in COSTS} == {key: small[key] for key in COSTS}
    for found in (masked, small):
        assert found["node_sparsity"] == pytest.approx(told["node_sparsity"], abs=1e-12)
        assert found["weights"] <= masked["weights"]


@pytest.mark.parametrize("network", quick(NETWORKS, ["blocks"]))
@pytest.mark.parametrize("criterion", one_in(2, OF_NODES))
def test_every_criterion_tells_what_shrink_leaves(criterion: str, network: str) -> None:
    start = fresh_checkpoint(NETWORKS[network], SHAPE, randomise_)
    at = (0.5, 0.95) if METHODS[criterion].unit == "both" else (0.4,)
    for sparsity in at:
        assert_true(prune(start, image_data(), criterion=criterion, sparsity=sparsity, batch_size=16))


@pytest.mark.long
@pytest.mark.parametrize("seed", quick(range(3), [0]))
def test_after_masks_of_weights_and_after_a_shrink(seed: int) -> None:
    """Weights that went before leave nodes without a path, which no criterion of nodes has removed."""
    torch.manual_seed(seed)
    start = replace(fresh_checkpoint(Blocks, SHAPE, randomise_), builder=Blocks)
    thin = prune(start, None, criterion="random", sparsity=0.9, seed=seed)
    for begun in (thin, shrink(thin)):
        assert_true(prune(begun, None, criterion="structured-random", sparsity=0.5, seed=seed))
    kept = prune(start, image_data(), criterion="cnip", sparsity=0.8, keep=["three"], batch_size=16, repair="refit")
    assert_true(kept)


def test_lenet5() -> None:
    data = image_data(shape=(1, 28, 28), classes=10)
    start = fresh("lenet5", data, source="test")
    assert_true(prune(start, data, criterion="cnip", sparsity=0.9, batch_size=16))


@pytest.mark.parametrize("sparsity", [0.3, 0.5])
def test_channels_of_the_image_are_no_nodes(sparsity: float) -> None:
    def colours() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 20, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 3))

    start = replace(fresh_checkpoint(colours, (3, 8, 8), randomise_), builder=colours)
    pruned = prune(start, None, criterion="structured-random", sparsity=sparsity, rules=NodeRules(outer_layers=True))
    assert pruned.history[-1].result["node_sparsity"] == pytest.approx(sparsity, abs=1e-12)
    assert not pruned.masks["0.weight"].flatten(2).any(2).all(0).all()  # some channel of the image went
    assert_true(pruned)
