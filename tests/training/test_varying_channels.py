"""What differs between random images is alive, whatever else is found."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunectl.masks import Masks
from prunectl.training.frozen_channels import frozen_entries
from prunectl.training.varying_channels import varying

T, X = True, False
IMAGE = (1, 6, 6)


def test_channels_that_differ_between_images_or_places() -> None:
    """One node of the image, one without weights, and one that reads the latter alone; padding tells places apart."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 3, padding=1))
    first, second = torch.tensor([T, X]).view(2, 1, 1, 1), torch.tensor([[T, T], [X, T]]).view(2, 2, 1, 1)
    third = torch.tensor([[T, X], [X, T]]).view(2, 2, 1, 1).expand(2, 2, 3, 3)
    found = varying(model, Masks({"0.weight": first, "2.weight": second, "3.weight": third}), IMAGE)
    assert {name: there.tolist() for name, there in found.inputs.items()} == {
        "0.weight": [T],
        "2.weight": [T, X],
        "3.weight": [T, X],
    }
    assert {name: there.tolist() for name, there in found.outputs.items()} == {
        "0.weight": [T, X],
        "2.weight": [T, X],
        "3.weight": [T, T],
    }
    assert found.bordered == {"3.weight"}


class OfOne(nn.Module):
    """A network that takes another layer for a single image."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.more, self.norm = nn.Linear(36, 2), nn.Linear(36, 2), nn.BatchNorm1d(2)

    def forward(self, images: Tensor) -> Tensor:
        layer = self.one if len(images) == 1 else self.more
        given: Tensor = self.norm(layer(images.flatten(1)))
        return given


def test_a_layer_that_only_some_batches_take_is_trained() -> None:
    masks = Masks({name: torch.zeros(2, 36, dtype=torch.bool) for name in ("one.weight", "more.weight")})
    assert frozen_entries(OfOne(), masks, IMAGE) == {}


def test_what_is_no_number_differs_and_random_state_and_network_stay() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2), nn.Threshold(0, torch.nan), nn.Dropout(0.5), nn.Linear(2, 2))
    before, state = [p.clone() for p in model.parameters()], torch.get_rng_state()
    found = varying(model, Masks({"1.weight": torch.zeros(2, 36, dtype=torch.bool)}), IMAGE)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.outputs["1.weight"].tolist() == [X, X]
    minus = nn.Sequential(nn.Flatten(), nn.Linear(36, 2), nn.LogSigmoid(), nn.Threshold(0, torch.nan), nn.Linear(2, 2))
    assert varying(minus, Masks({}), IMAGE).outputs["4.weight"].tolist() == [T, T]
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize(("padding", "held"), [(0, True), (1, False)])
def test_constants_differ_at_padded_borders(padding: int, held: bool) -> None:
    """Channel 0 of the first convolution is pruned, and channel 1 of the second reads it alone."""
    blocks = (nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=padding), nn.BatchNorm2d(2))
    model = nn.Sequential(*blocks, nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    model(torch.zeros(2, *IMAGE))
    read = torch.ones(2, 2, 3, 3, dtype=torch.bool)
    read[1, 1] = False
    masks = Masks({"0.weight": torch.tensor([X, T]).view(2, 1, 1, 1).expand(2, 1, 3, 3), "3.weight": read})
    found = frozen_entries(model, masks, IMAGE)
    assert found["0.bias"].tolist() == [T, X]
    assert ("3.weight" in found) is held


class Residual(nn.Module):
    """A residual block whose norm begins at zero, as the last of every block often does, and a layer that reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.zero = nn.Conv2d(1, 3, 1), nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)
        self.c, self.norm = nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)
        nn.init.zeros_(self.zero.weight)

    def forward(self, images: Tensor) -> Tensor:
        given: Tensor = self.norm(self.c(self.a(images) + self.zero(self.b(images)))).mean((2, 3))
        return given


def test_what_training_moves_from_zero_is_alive() -> None:
    read = torch.tensor([[T, T, X], [T, T, T]]).view(2, 3, 1, 1)
    masks = Masks({"a.weight": torch.tensor([X, T, T]).view(3, 1, 1, 1), "c.weight": read})
    assert frozen_entries(Residual(), masks, IMAGE) == {}


def masked_attention(first: Tensor, second: Tensor) -> Tensor:
    """Every token attends to the first alone."""
    tokens = torch.stack([first.mean((2, 3)), second.mean((2, 3))], 1)
    keep = torch.eye(2, 1, device=first.device).flatten()
    return ((tokens @ tokens.mT + (1.0 - keep) * -10_000.0).softmax(-1) @ tokens)[:, 1, :, None, None].repeat(
        1, 1, 2, 2
    )


def warped(first: Tensor, _: Tensor) -> Tensor:
    at = torch.arange(16.0, device=first.device) * 2 / 15 - 1
    grid = torch.stack([at[None].expand(16, 16), at[:, None].expand(16, 16)], -1)
    return F.grid_sample(first, grid[None].repeat(len(first), 1, 1, 1), align_corners=True)


def blurred(first: Tensor, _: Tensor) -> Tensor:
    at = torch.arange(16.0, device=first.device)
    return first @ torch.exp(-((at[:, None] - at) ** 2) / 2)


def shifted(first: Tensor, _: Tensor) -> Tensor:
    return first[:, (torch.arange(1.0, 9.0, device=first.device) - 1).long()] - (-0.5)


def deviation(first: Tensor, _: Tensor) -> Tensor:
    return first.std((2, 3), keepdim=True).expand_as(first)


def slope(first: Tensor, _: Tensor) -> Tensor:
    return F.pad(torch.diff(first, dim=3), (0, 1))


def frozen(first: Tensor, _: Tensor) -> Tensor:
    return F.layer_norm(first.detach(), first.shape[1:])


def negative(first: Tensor, second: Tensor) -> Tensor:
    return F.relu(-1 * first) + F.relu(first + -1 * second - 1)


def rounded(first: Tensor, _: Tensor) -> Tensor:
    return first.floor()


def overflowing(first: Tensor, _: Tensor) -> Tensor:
    return first * 1e38 * 1e38


class Two(nn.Module):
    """A function of two convolutions of the image, and then a convolution behind which is a BatchNorm."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.a, self.p = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 1)
        self.b, self.n, self.c = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        given = self.b(self.function(self.a(images), self.p(images)))
        return self.c(F.relu(self.n(given)).mean((2, 3)))


@pytest.mark.parametrize(
    "function", [masked_attention, warped, blurred, shifted, deviation, slope, frozen, negative, rounded, overflowing]
)
def test_arithmetic_on_constants_stays_and_nothing_alive_is_taken_for_dead(
    function: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """The first convolution keeps its middle, the second nothing, and what follows all but what reads one channel."""
    model = Two(function)
    middle = torch.zeros(8, 3, 3, 3, dtype=torch.bool)
    middle[:, :, 2, 2] = True
    read = torch.ones(8, 8, 1, 1, dtype=torch.bool)
    read[:, 0] = False
    masks = Masks({"a.weight": middle, "p.weight": torch.zeros(8, 3, 1, 1, dtype=torch.bool), "b.weight": read})
    assert frozen_entries(model, masks, (3, 16, 16)).keys() <= {"p.bias"}
