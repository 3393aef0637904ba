"""HRank and CHIP: maps are found behind activations, and scores equal slow computations on them."""

import pytest
import torch
from torch import Tensor, nn

from prunectl.criteria.chip import independence
from prunectl.criteria.hrank import map_rank
from prunectl.errors import OptionError
from prunectl.structure.trace import trace
from tests.helpers.networks import randomise_
from tests.helpers.node_networks import SHAPE, Residual
from tests.helpers.toys import TOYS


class Functional(nn.Module):
    """Three channels behind a relu that is no module, then four neurons behind one in place."""

    def __init__(self, colours: int = 1) -> None:
        super().__init__()
        self.conv, self.hidden, self.head = nn.Conv2d(colours, 3, 1), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(torch.relu(self.conv(x)).mean((2, 3))).relu_())


def set_(layer: nn.Module, weight: list, bias: list) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight, dtype=torch.float32).view_as(layer.weight))
        layer.bias.copy_(torch.tensor(bias))


def draw(images: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(images, torch.zeros(len(images), dtype=torch.int64))]


def test_hrank_is_the_mean_rank_behind_the_activation() -> None:
    """Images of rank 4 and 1: kept, made constant, cut off by relu; neurons that fire always, once, never."""
    model, images = Functional(), torch.stack([torch.eye(4), torch.ones(4, 4)]).unsqueeze(1)
    set_(model.conv, [1, 0, -1], [0.0, 1.0, 0.0])
    set_(model.hidden, [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]], [0.0, 0.0, -0.5, 0.0])
    scores = map_rank(model, iter(draw(images)), trace(model, (1, 4, 4)), images=2).nodes
    assert scores.tolist() == [2.5, 1, 0, 1, 1, 0.5, 0]


def test_a_coupled_map_is_that_of_the_last_sum() -> None:
    """1 in the stream, 0 from the block where its last convolution is 0 and its bias cancels nothing."""
    model = Residual()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    nn.init.eye_(model.outer.bias.data.unsqueeze(0))  # the first channel of the sum is 1 everywhere
    scores = map_rank(model, iter(draw(torch.ones(2, *SHAPE))), trace(model, SHAPE), images=2).nodes
    assert scores.tolist() == [1.0] + [0.0] * 14


def test_images_are_the_first_of_the_draw() -> None:
    model, images = Functional(), torch.stack([torch.eye(4), torch.ones(4, 4)]).unsqueeze(1)
    set_(model.conv, [1, 1, 1], [0.0, 0.0, 0.0])
    structure = trace(model, (1, 4, 4))
    found = [map_rank(model, iter(2 * draw(images)), structure, images=n).nodes[0].item() for n in (1, 2, 3)]
    assert found == pytest.approx([4, 2.5, 3])
    with pytest.raises(OptionError, match="images must be 1 or more, got 0"):
        map_rank(model, iter(draw(images)), structure, images=0)


@pytest.mark.parametrize("size", [2, 5])
def test_chip_is_what_the_nuclear_norm_loses_without_a_row(size: int) -> None:
    """With fewer places than channels, and with more."""
    model = randomise_(nn.Sequential(nn.Conv2d(2, 6, 1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * size * size, 3)))
    images = torch.randn(3, 2, size, size, generator=torch.Generator().manual_seed(0))
    scores = independence(model, iter(draw(images)), trace(model, (2, size, size)), images=3).nodes
    with torch.no_grad():
        maps = model[:2](images).flatten(2).double()
    for channel in range(6):
        zeroed = maps.index_fill(1, torch.tensor([channel]), 0)
        lost = torch.linalg.matrix_norm(maps, "nuc") - torch.linalg.matrix_norm(zeroed, "nuc")
        assert scores[channel].item() == pytest.approx(lost.mean().item(), rel=1e-5, abs=1e-6)


def test_chip_by_hand() -> None:
    """Rows (3, 0), (0, 4), (0, 4): singular values 3 and 4√2; without the last 3 and 4."""
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Flatten(), nn.Linear(6, 2))
    set_(model[0], [[1, 0], [0, 1], [0, 1]], [0.0, 0.0, 0.0])
    images = torch.tensor([[[[3.0, 0.0]], [[0.0, 4.0]]]])
    scores = independence(model, iter(draw(images)), trace(model, (2, 1, 2)), images=1).nodes
    twin = 4 * 2**0.5 - 4
    assert scores.tolist() == pytest.approx([3, twin, twin], rel=1e-6)


def test_channels_of_the_image_have_no_map_and_go_last() -> None:
    model = randomise_(Functional(3))
    structure = trace(model, (3, 4, 4), outer=True)
    scores = map_rank(model, iter(draw(torch.randn(4, 3, 4, 4))), structure, images=4).nodes
    others = torch.ones(structure.nodes, dtype=torch.bool).index_fill(0, structure.image, False)
    assert scores[structure.image].min() > scores[others].max()


@pytest.mark.parametrize("toy", ["encoder-layer", "conv3d"])
def test_tokens_and_volumes_are_maps(toy: str) -> None:
    build, shape = TOYS[toy]
    model = randomise_(build())
    structure = trace(model, shape)
    scores = independence(model, iter(draw(torch.randn(4, *shape))), structure, images=4).nodes
    assert scores.shape == (structure.nodes,)
    assert torch.unique(scores).numel() > 2
