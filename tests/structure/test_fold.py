"""Nodes that masks have cut off are found, and the constants that they leave behind go into biases."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunectl.masks import Masks
from prunectl.structure.surgery.fold import _leave_one, bury_, masked_nodes, nothing_but_masked
from prunectl.structure.trace import analyse
from tests.helpers.networks import randomise_

SHAPE = (1, 8, 8)
FIRST, SECOND = (0, 1, 2), (3, 4)
"""The nodes of the layers of `network`."""


def network(second: nn.Module, constant: float = 0.5) -> nn.Sequential:
    """A convolution with three channels, and a layer that reads them; `without(1)` makes channel 1 a constant."""
    head = (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    model = randomise_(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), second, *head)).eval().double()
    model[0].bias.data[:] = torch.tensor([0.1, constant, 0.2])
    return model


def conv(**options: Any) -> nn.Module:
    return nn.Conv2d(3, 2, 3, **options)


def masks(**pruned: Any) -> Masks:
    """Masks of all but some indices, by name; `w0` stands for 0.weight."""
    shapes = {"w0": (3, 1, 3, 3), "b0": (3,), "w2": (2, 3, 3, 3), "b2": (2,), "w6": (3, 2)}
    found = {}
    for key, index in pruned.items():
        mask = torch.ones(shapes[key], dtype=torch.bool)
        mask[index] = False
        found[f"{key[1]}.{'weight' if key[0] == 'w' else 'bias'}"] = mask
    return Masks(found)


ALL = slice(None)


def nodes(*chosen: int) -> Tensor:
    return torch.tensor([i in chosen for i in (*FIRST, *SECOND)])


def buried(model: nn.Module, pruned: Masks, staying: Tensor | None = None) -> list[int]:
    """The nodes that can go; the network is left as `bury_` leaves it, and computes the same."""
    pruned.apply_(model)
    images = torch.randn(4, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = model(images)
    removed = bury_(model, analyse(model, SHAPE), pruned, staying=staying)
    assert torch.allclose(model(images), before, rtol=1e-12, atol=1e-12)
    assert removed.shape == (len(FIRST) + len(SECOND),)
    return torch.nonzero(removed).flatten().tolist()


def test_nothing_goes_from_a_whole_network() -> None:
    model = network(conv())
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert buried(model, Masks.dense()) == []
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


FOLDED = {"no padding": {}, "zero padding": {"padding": (0, 0)}, "valid": {"padding": "valid"}, "stride": {"stride": 2}}
STAYS = {
    "padding": {"padding": 1},
    "padding on one axis": {"padding": (0, 1)},
    "same": {"padding": "same"},
    "no bias": {"bias": False},
}


@pytest.mark.parametrize("name", FOLDED)
def test_a_constant_goes_into_the_bias_of_what_reads_it(name: str) -> None:
    model = network(conv(**FOLDED[name]))
    weight, bias = model[2].weight.clone(), model[2].bias.clone()
    assert buried(model, masks(w0=1)) == [1]
    assert torch.allclose(model[2].bias, bias + 0.5 * weight[:, 1].sum((1, 2)), rtol=1e-12)
    assert not model[2].weight[:, 1].any()
    assert torch.equal(model[2].weight[:, [0, 2]], weight[:, [0, 2]])


@pytest.mark.parametrize("name", STAYS)
def test_a_constant_stays_where_no_bias_can_take_it(name: str) -> None:
    model = network(conv(**STAYS[name]))
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    pruned = masks(w0=1)
    assert buried(model, pruned) == []
    pruned.apply_(model)
    state["0.weight"][1] = 0
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", STAYS)
def test_a_zero_goes_wherever_it_is_read(name: str) -> None:
    model = network(conv(**STAYS[name]), constant=-0.5)
    bias = None if model[2].bias is None else model[2].bias.clone()
    assert buried(model, masks(w0=1)) == [1]
    assert not model[2].weight[:, 1].any()
    assert bias is None or torch.equal(model[2].bias, bias)


@pytest.mark.parametrize(("constant", "gone"), [(0.5, []), (-0.5, [1])])
def test_a_transposed_convolution_loses_the_input_of_a_zero_alone(constant: float, gone: list[int]) -> None:
    model = network(nn.ConvTranspose2d(3, 2, 3), constant)
    weight = model[2].weight.clone()
    weight[gone] = 0
    assert buried(model, masks(w0=1)) == gone
    assert torch.equal(model[2].weight, weight)


def test_negative_zeros_that_are_cut_off_are_zeros() -> None:
    """What is left of a weight is written to files: equal networks are equal to the bit."""
    model = network(conv(), constant=-0.5)
    model[2].weight.data[:, 1] = -0.0
    assert buried(model, masks(w0=1)) == [1]
    assert not model[2].weight[:, 1].signbit().any()


def test_a_node_that_nothing_reads_goes() -> None:
    assert buried(network(conv()), masks(w2=(ALL, 0))) == [0]
    assert buried(network(conv()), masks(w6=(ALL, 1))) == [4]
    assert buried(network(conv(padding=1)), masks(w0=1, w2=(ALL, 1))) == [1]  # a constant that nothing reads


def test_a_chain_of_constants_goes_one_after_the_other() -> None:
    model = network(conv())
    model[2].bias.data[0] = 5.0
    bias = model[6].bias.clone()
    assert buried(model, masks(w0=1, w2=(0, [0, 2]))) == [1, 3]  # node 3 reads node 1 alone
    assert not torch.isclose(model[6].bias, bias).any()
    assert not model[6].weight[:, 0].any()


def test_one_node_stays_on_every_axis() -> None:
    assert buried(network(conv()), masks(w6=(ALL, ALL))) == [1, 2, 4]
    assert len(buried(network(conv()), masks(w0=ALL))) == 3


def test_nodes_that_are_to_stay_go_only_if_they_are_masked_everywhere() -> None:
    constant, unread = masks(w0=1), masks(w2=(ALL, 0))
    assert buried(network(conv()), constant, nodes(1)) == []
    assert buried(network(conv()), constant, nodes(0, 2, 3, 4)) == [1]
    assert buried(network(conv()), unread, nodes(0)) == []
    assert buried(network(conv()), unread, nodes(1, 2, 3, 4)) == [0]
    assert buried(network(conv()), masks(w0=1, b0=1, w2=(ALL, 1)), nodes(*FIRST, *SECOND)) == [1]


class Placed(nn.Module):
    """Adds a parameter of its own to the channels of a convolution, a number for each place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.head = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 3), nn.Linear(2, 3)
        self.places = nn.Parameter(torch.ones(3, 6, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.first(x) + self.places).mean((2, 3)))


@pytest.mark.parametrize(
    ("constant", "step", "gone"),
    [(1.0, 0.0, [1]), (1e-6, 1e-14, [1]), (1e-6, 1e-13, []), (1.0, 1.0, []), (1e3, 1e-11, [1]), (1e3, 1e-10, [])],
)
def test_a_constant_that_differs_from_place_to_place_by_more_than_rounding_stays(
    constant: float, step: float, gone: list[int]
) -> None:
    model = randomise_(Placed()).eval().double()
    model.first.bias.data[1] = 0
    model.places.data[1] = constant + step * torch.arange(36.0, dtype=torch.float64).view(6, 6)
    pruned = Masks({"first.weight": torch.tensor([True, False, True])[:, None, None, None].expand(3, 1, 3, 3)})
    assert buried(model, pruned) == gone


class Shared(nn.Module):
    """Two layers read what another makes; they share no parameter, one of them, or both."""

    def __init__(self, *shared: str) -> None:
        super().__init__()
        self.first, self.one, self.two, self.head = nn.Conv2d(1, 3, 3), conv(), conv(), nn.Linear(2, 3)
        for name in shared:
            setattr(self.two, name, getattr(self.one, name))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.head((self.one(x).relu() + self.two(x.relu())).mean((2, 3)))


@pytest.mark.parametrize(("shared", "gone"), [((), [1]), (("weight",), []), (("bias",), []), (("weight", "bias"), [])])
def test_a_bias_that_something_else_uses_too_takes_no_constant(shared: tuple[str, ...], gone: list[int]) -> None:
    model = randomise_(Shared(*shared)).eval().double()
    model.first.bias.data[1] = 0.5
    pruned = Masks({"first.weight": torch.tensor([True, False, True])[:, None, None, None].expand(3, 1, 3, 3)})
    assert buried(model, pruned) == gone


class Widened(nn.Sequential):
    """Computes its outputs in float64; a traced graph asserts the type that they had before."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).double()


def test_a_network_that_was_traced_in_another_type_is_run_in_this_one() -> None:
    model = Widened(*network(conv())).float()
    analysis, pruned = analyse(model, SHAPE), masks(w0=1)
    assert any(node.name.startswith("_assert") for node in analysis.flow.graph.nodes)
    pruned.apply_(model)
    assert bury_(model.double(), analysis, pruned).tolist() == nodes(1).tolist()


def test_nodes_masked_on_all_their_parameters() -> None:
    model = network(conv())
    analysis = analyse(model, SHAPE)

    def found(pruned: Masks) -> list[int]:
        removed = masked_nodes(analysis, pruned, model)
        assert removed.shape == (5,)
        return torch.nonzero(removed).flatten().tolist()

    assert found(Masks.dense()) == found(masks(w0=1, b0=1)) == found(masks(w0=1, w2=(ALL, 1))) == []
    assert found(masks(w0=1, b0=1, w2=(ALL, 1))) == [1]
    assert found(masks(w0=ALL, b0=ALL, w2=ALL)) == [1, 2]  # one stays on its axis


def test_whether_there_are_only_nodes_that_are_masked() -> None:
    model = network(conv())
    analysis = analyse(model, SHAPE)

    def only(pruned: Masks, *staying: int) -> bool:
        found = nothing_but_masked(model, analysis, pruned, nodes(*staying) if staying else None)
        pruned.apply_(model)
        return found

    everywhere, constant, unread = masks(w0=1, b0=1, w2=(ALL, 1)), masks(w0=1), masks(w2=(ALL, 0))
    assert only(Masks.dense()) and only(everywhere) and only(everywhere, 1, 2)
    assert not only(constant) and not only(constant, 0, 2) and only(constant, 1)
    assert not only(unread) and not only(unread, 1, 2) and only(unread, 0)


def test_of_an_axis_that_would_be_empty_the_first_that_was_there_stays() -> None:
    axes = {("a", 0): torch.tensor([0, 1, 2]), ("b", 0): torch.tensor([3, -1]), ("c", 0): torch.tensor([2, 4])}
    before = torch.tensor([True, False, False, False, False, False])
    after = torch.tensor([True, True, True, True, False, False])
    assert _leave_one(axes, before, after).tolist() == [True, False, True, True, False, False]
    assert after.tolist() == [True, True, True, True, False, False]
