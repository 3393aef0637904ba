"""FPGM, DepGraph and Group Fisher: numbers that can be checked by hand, or finite differences."""

import copy

import pytest
import torch
from torch import nn

from prunectl.criteria.depgraph import group_norm
from prunectl.criteria.fisher import fisher_information
from prunectl.criteria.fpgm import filter_distances
from prunectl.structure.trace import trace
from tests.helpers.networks import randomise_
from tests.helpers.node_networks import SHAPE, Residual


def test_fpgm_sums_distances_to_the_filters_that_are_left() -> None:
    """Rows (1, 0), (4, 4), (1, 8) are 5, 5 and 8 apart, so (4, 4) is the closest to their median; (0, 0) is pruned."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 0], [4, 4], [1, 8], [0, 0]]))
    scores = filter_distances(model, iter(()), trace(model, (1, 1, 2))).nodes
    assert scores.tolist() == pytest.approx([13, 10, 13, 1 + 32**0.5 + 65**0.5])


def test_fpgm_adds_up_coupled_filters() -> None:
    """In one channel of the stream every weight of the stem is 1 more, and every weight of the block 2 more."""
    model = Residual()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.5)
    with torch.no_grad():
        model.stem.weight[2] += 1
        model.outer.weight[2] += 2
    scores = filter_distances(model, iter(()), trace(model, SHAPE)).nodes
    apart = 9**0.5 + 2 * 81**0.5
    assert scores[:6].tolist() == pytest.approx([apart, apart, 5 * apart, apart, apart, apart])
    assert scores[6:].tolist() == [0.0] * 9


def test_depgraph_adds_up_squares_of_all_that_goes_with_a_node() -> None:
    """Of node 0: 1 + 4 of its row, 9 of its bias, 16 + 25 of what reads it."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, -2], [0, 0]]))
        model[1].bias.copy_(torch.tensor([3.0, 1]))
        model[3].weight.copy_(torch.tensor([[4.0, 1], [5, 0]]))
    assert group_norm(model, iter(()), trace(model, (1, 1, 2))).nodes.tolist() == [55, 2]


def test_depgraph_counts_norms_and_every_layer_of_a_stream() -> None:
    """A channel of the stream has 9 + 1 entries in the stem, 2 in its norm, 2 · 81 + 1 in the block, 3 in the head."""
    model = Residual()
    for parameter in model.parameters():
        nn.init.constant_(parameter, -2)
    scores = group_norm(model, iter(()), trace(model, SHAPE)).nodes
    assert scores.tolist() == [4.0 * 178] * 6 + [4.0 * (54 + 1 + 54)] * 9


def test_fisher_squares_what_a_gate_does_to_the_loss_of_each_image() -> None:
    model = randomise_(Residual()).double().eval()
    images = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1)).double()
    labels = torch.arange(4) % 3
    structure = trace(model, SHAPE)
    scores = fisher_information(model, iter([(images[:3], labels[:3]), (images[3:], labels[3:])]), structure, images=4)

    def loss(factor: float, i: int) -> float:
        """Of image i, with what both readers of channel 2 of the stream multiply by it scaled."""
        probe = copy.deepcopy(model)
        with torch.no_grad():
            probe.inner.weight[:, 2] *= factor
            probe.head.weight[:, 2] *= factor
        return float(nn.functional.cross_entropy(probe(images[i : i + 1]), labels[i : i + 1]).detach())

    slopes = [(loss(1 + 1e-5, i) - loss(1 - 1e-5, i)) / 2e-5 for i in range(4)]
    assert scores.nodes[2].item() == pytest.approx(sum(s * s for s in slopes) / 8, rel=1e-4)
