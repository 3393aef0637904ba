"""Masks: bits that come back, zeros where they say so, and layers in the model's order."""

import math
from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunectl.errors import CheckpointError, PrunectlError
from prunectl.masks import Masks, input_axes, pack, prunable, unpack
from prunectl.training import enforcer
from prunectl.training.enforcer import Enforcer

KEEP_DIAGONAL = torch.tensor([[True, False], [False, True]])
SHAPES = st.lists(st.integers(0, 5), max_size=4)  # scalars and empty tensors too


def linear() -> nn.Linear:
    """y = [[1, 2], [3, 4]] x + [5, 6]."""
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        layer.bias.copy_(torch.tensor([5.0, 6.0]))
    return layer


# --- bits


@pytest.mark.parametrize(
    ("mask", "bits"),
    [
        ([True], [1]),
        ([False, True], [2]),
        ([True, False, False, False, False, False, False, True], [1 + 128]),
        ([True] * 8, [255]),
        ([False] * 8 + [True], [0, 1]),
        ([True] * 9, [255, 1]),
        ([[True, False], [False, True]], [1 + 8]),  # row after row
        (True, [1]),
        ([], []),
    ],
)
def test_the_first_entry_is_the_lowest_bit(mask, bits):
    packed = pack(torch.tensor(mask, dtype=torch.bool))
    assert packed.dtype == torch.uint8
    assert packed.tolist() == bits


@given(st.data())
@settings(deadline=None)
def test_packing_keeps_every_bit_and_pads_with_zeros(data):
    shape = tuple(data.draw(SHAPES))
    entries = math.prod(shape)
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=entries, max_size=entries))).bool().view(shape)
    packed = pack(mask)
    assert len(packed) == -(-entries // 8)
    assert sum(byte.bit_count() for byte in packed.tolist()) == int(mask.sum())
    assert torch.equal(unpack(packed, shape), mask)


# --- a mapping of bool tensors


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int64])
def test_only_bool_is_a_mask(dtype):
    with pytest.raises(PrunectlError, match=f"^the mask of a must be bool, got {dtype}$"):
        Masks({"a": torch.ones(2, dtype=dtype)})


def test_a_mapping():
    masks = Masks({"b": KEEP_DIAGONAL, "a": torch.tensor([True])})
    assert list(masks) == ["b", "a"]
    assert masks["b"] is KEEP_DIAGONAL
    assert list(Masks.dense()) == []
    assert not Masks.dense()


def test_every_mask_moves():
    moved = Masks({"a": KEEP_DIAGONAL}).to(torch.device("meta"))
    assert moved["a"].device.type == "meta"


# --- on a network


def test_apply_zeroes_what_is_pruned_and_nothing_else():
    layer = linear()
    Masks({"weight": KEEP_DIAGONAL}).apply_(layer)
    assert layer.weight.tolist() == [[1, 0], [0, 4]]
    assert layer.bias.tolist() == [5, 6]
    Masks({"bias": torch.tensor([False, True])}).apply_(layer)
    assert layer.weight.tolist() == [[1, 0], [0, 4]]
    assert layer.bias.tolist() == [0, 6]
    assert layer.weight.requires_grad


def test_apply_zeroes_what_is_not_finite():
    layer = linear()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, math.nan], [math.inf, 4.0]]))
    Masks({"weight": KEEP_DIAGONAL}).apply_(layer)
    assert layer.weight.tolist() == [[1, 0], [0, 4]]


def test_no_mask_changes_nothing():
    layer = linear()
    Masks.dense().apply_(layer)
    assert layer.weight.tolist() == [[1, 2], [3, 4]]


def test_kept_counts_prunable_weights_alone():
    network = nn.Sequential(linear(), nn.BatchNorm1d(2), linear())
    assert Masks.dense().kept(network) == 8
    assert Masks({"0.weight": KEEP_DIAGONAL}).kept(network) == 6
    assert Masks({"0.weight": KEEP_DIAGONAL, "2.weight": ~KEEP_DIAGONAL}).kept(network) == 4
    assert Masks({"0.bias": torch.tensor([False, False]), "1.weight": torch.tensor([False, True])}).kept(network) == 8


def test_prunable_weights_come_in_the_models_order():
    network = nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(1, 2, 3),
            norm=nn.BatchNorm2d(2),
            body=nn.Sequential(nn.ConvTranspose2d(2, 2, 3), nn.Conv1d(2, 2, 1, bias=False)),
            embedding=nn.Embedding(3, 2),
            a_head=nn.Linear(2, 3),
        )
    )
    assert list(prunable(network)) == ["stem.weight", "body.0.weight", "body.1.weight", "a_head.weight"]
    assert prunable(network)["a_head.weight"] is network.a_head.weight


def test_a_layer_alone_and_a_layer_used_twice():
    layer = linear()
    assert list(prunable(layer)) == ["weight"]
    assert list(prunable(nn.Sequential(layer, layer))) == ["0.weight"]
    assert list(prunable(nn.ReLU())) == []


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"weight": torch.ones(2, 3).bool()}, "the mask of weight has shape (2, 3), the network has (2, 2)"),
        ({"weight": torch.ones(4).bool()}, "the mask of weight has shape (4,), the network has (2, 2)"),
        ({"w": KEEP_DIAGONAL}, "the mask of w has shape (2, 2), the network has no such parameter"),
    ],
)
def test_masks_of_another_network(masks, message):
    with pytest.raises(CheckpointError) as error:
        Masks(masks).check(linear(), "x.safetensors")
    assert str(error.value) == f"x.safetensors: {message}"


def test_masks_of_this_network():
    Masks({"weight": KEEP_DIAGONAL, "bias": torch.tensor([True, False])}).check(linear(), "x.safetensors")


# --- while an optimiser runs


def test_enforcer_zeroes_weights():
    layer = linear()
    Enforcer(Masks({"weight": KEEP_DIAGONAL}), layer).weights_()
    assert layer.weight.tolist() == [[1, 0], [0, 4]]
    assert layer.bias.tolist() == [5, 6]


def test_enforcer_zeroes_gradients():
    layer = linear()
    layer(torch.tensor([[1.0, 10.0]])).sum().backward()
    Enforcer(Masks({"weight": KEEP_DIAGONAL}), layer).gradients_()
    assert layer.weight.grad.tolist() == [[1, 0], [0, 10]]
    assert layer.bias.grad.tolist() == [1, 1]
    assert layer.weight.tolist() == [[1, 2], [3, 4]]


def test_enforcer_passes_by_what_has_no_gradient():
    layer = linear()
    layer.weight.requires_grad_(False)
    layer(torch.ones(1, 2)).sum().backward()
    masks = Masks({"weight": KEEP_DIAGONAL, "bias": torch.tensor([True, False])})
    Enforcer(masks, layer).gradients_()
    assert layer.weight.grad is None
    assert layer.bias.grad.tolist() == [1, 0]


def test_enforcer_holds_values_beside_zeros():
    layer = linear()
    enforcer = Enforcer(Masks({"weight": KEEP_DIAGONAL}), layer, {"bias": torch.tensor([True, False])})
    with torch.no_grad():
        layer.weight.fill_(7)
        layer.bias.fill_(7)
    layer(torch.ones(1, 2)).sum().backward()
    enforcer.weights_()
    enforcer.gradients_()
    assert layer.weight.tolist() == [[7, 0], [0, 7]]
    assert layer.bias.tolist() == [5, 7]
    assert layer.bias.grad.tolist() == [0, 1]


@pytest.mark.parametrize("shape", [(40, 50), (8, 16, 3, 3)])
def test_enforcer_of_a_large_parameter_computes_the_same_with_a_byte_for_each_factor(shape, monkeypatch):
    monkeypatch.setattr(enforcer, "_PIECE", 100)
    layer = torch.nn.ParameterDict({"weight": torch.nn.Parameter(torch.randn(shape))})
    if len(shape) == 4:
        layer["weight"].data = layer["weight"].data.contiguous(memory_format=torch.channels_last)
    mask, rows = torch.rand(shape) < 0.5, torch.arange(shape[0]).view(-1, *[1] * (len(shape) - 1)) < 3
    frozen, before = (mask & rows), layer["weight"].detach().clone()
    for large in (1 << 20, 10):
        monkeypatch.setattr(enforcer, "LARGE", large)
        made = Enforcer(Masks({"weight": mask}), layer, {"weight": frozen})
        assert made.factors[0].element_size() == (1 if large == 10 else 4)
        for gradient in (torch.ones(shape), torch.ones(shape[::-1]).permute(*reversed(range(len(shape))))):
            layer["weight"].grad = gradient
            made.gradients_()
            assert torch.equal(layer["weight"].grad, (mask & ~rows).float())
        with torch.no_grad():
            layer["weight"].copy_(before + 1)
        made.weights_()
        assert torch.equal(layer["weight"].detach(), torch.where(frozen, before, (before + 1) * (mask & ~rows)))
        layer["weight"].data.copy_(before)


def test_enforcer_without_masks():
    layer = linear()
    layer(torch.ones(1, 2)).sum().backward()
    enforcer = Enforcer(Masks.dense(), layer)
    enforcer.weights_()
    enforcer.gradients_()
    assert layer.weight.tolist() == [[1, 2], [3, 4]]
    assert layer.weight.grad.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_nothing_pruned_comes_back_in_training(dtype):
    layer = linear().to(dtype)
    enforcer = Enforcer(Masks({"weight": KEEP_DIAGONAL}), layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    for _ in range(3):  # momentum from before the mask was there
        layer(torch.ones(1, 2, dtype=dtype)).square().sum().backward()
        optimizer.step()
    assert layer.weight.count_nonzero() == 4
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.ones(1, 2, dtype=dtype)).square().sum().backward()
        optimizer.step()
        enforcer.weights_()
        assert (layer.weight != 0).tolist() == KEEP_DIAGONAL.tolist()
    assert layer.weight.requires_grad
    assert layer.weight.dtype == dtype


def test_where_the_inputs_of_a_weight_lie():
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3), nn.ConvTranspose2d(8, 4, 3), nn.ConvTranspose2d(4, 4, 3, groups=2), nn.Linear(4, 2)
    )
    assert input_axes(model) == {"0.weight": 1, "1.weight": 0, "2.weight": None, "3.weight": 1}
