"""What is left of tensors, masks and networks without some of their indices, and the way back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from prunectl.errors import StructureError
from prunectl.masks import Masks
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.structure.nodes import FROZEN, Structure
from prunectl.structure.surgery.cut import (
    Kept,
    composed,
    cut,
    cut_masks,
    cut_model,
    cut_unstored_,
    grown,
    kept_indices,
    since,
)
from tests.helpers.networks import checkpoint_of, randomise_

T, F = True, False


def at(*indices: int) -> Tensor:
    return torch.tensor(indices, dtype=torch.int64)


def listed(kept: Kept) -> dict[tuple[str, int], list[int]]:
    return {key: left.tolist() for key, left in kept.items()}


def test_only_axes_that_lose_indices_are_listed() -> None:
    axes = {("a", 0): at(0, 1, 2), ("b", 1): at(FROZEN, 2, 2, 0), ("c", 0): at(0, 2), ("d", 0): at(1, FROZEN, 1)}
    removed = torch.tensor([F, T, F, F])
    assert listed(kept_indices(Structure(axes, 4), removed)) == {("a", 0): [0, 2], ("d", 0): [1]}
    outer = Structure(axes, 4, image=at(1, 3, FROZEN))
    assert listed(kept_indices(outer, removed)) == {("a", 0): [0, 2], ("d", 0): [1], ("", 1): [1, 2]}
    assert kept_indices(outer, torch.zeros(4, dtype=torch.bool)) == {}


def test_two_removals_in_turn_are_one() -> None:
    first = {("a", 0): at(0, 2, 5, 7), ("a", 1): at(1, 3), ("b", 0): at(4)}
    second = {("a", 0): at(1, 3), ("c", 1): at(2, 6)}
    both = composed(first, second)
    assert listed(both) == {("a", 0): [2, 7], ("a", 1): [1, 3], ("b", 0): [4], ("c", 1): [2, 6]}
    assert listed(since(first, both)) == listed(second)
    assert since(both, both) == {}
    assert listed(since({}, both)) == listed(both)


SUBSETS = st.sets(st.integers(0, 11), min_size=1).map(sorted)


@given(SUBSETS, st.data())
def test_what_one_removal_keeps_of_another_is_found_again(first: list[int], data: st.DataObject) -> None:
    second = data.draw(st.sets(st.integers(0, len(first) - 1), min_size=1).map(sorted))
    one, two = {("a", 0): at(*first)}, {("a", 0): at(*second)}
    whole = torch.arange(12)
    both = composed(one, two)
    assert cut({"a": whole}, both)["a"].tolist() == cut(cut({"a": whole}, one), two)["a"].tolist()
    assert listed(since(one, both)) == ({} if len(second) == len(first) else listed(two))


def test_tensors_lose_indices_on_every_axis_and_whole_ones_stay_the_same_objects() -> None:
    tensors = {"a": torch.arange(12).view(3, 4), "b": torch.arange(3)}
    small = cut(tensors, {("a", 0): at(0, 2), ("a", 1): at(1, 3), ("not there", 0): at(0)})
    assert small["a"].tolist() == [[1, 3], [9, 11]]
    assert small["b"] is tensors["b"] and small.keys() == tensors.keys()
    assert tensors["a"].shape == (3, 4)


def test_masks_that_prune_nothing_any_more_are_dropped() -> None:
    masks = Masks({"a": torch.tensor([[T, F, T], [T, T, T]]), "b": torch.tensor([T, F]), "c": torch.tensor([T, T])})
    small = cut_masks(masks, {("a", 1): at(0, 2), ("b", 0): at(1)})
    assert {name: mask.tolist() for name, mask in small.items()} == {"b": [False]}
    assert cut_masks(masks, {("a", 1): at(0, 1)})["a"].tolist() == [[T, F], [T, T]]


class Scaled(nn.Module):
    """Two layers, a norm, and a buffer of each kind; nothing of the second layer is stored but its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3, bias=False)
        self.register_buffer("stored", torch.arange(4.0))
        self.register_buffer("scale", torch.arange(4.0), persistent=False)
        self.register_buffer("steady", torch.arange(3.0), persistent=False)


KEPT = {
    **{(f"first.{name}", 0): at(1, 3) for name in ("weight", "bias")},
    **{(f"norm.{name}", 0): at(1, 3) for name in ("weight", "bias", "running_mean", "running_var")},
    **{("last.weight", 1): at(1, 3), ("stored", 0): at(1, 3), ("scale", 0): at(1, 3)},
}


def test_a_smaller_network_has_its_widths_and_shares_what_is_whole() -> None:
    model = randomise_(Scaled())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    small = cut_model(model, {**KEPT, ("last.weight", 1): at(0, 1, 2)})
    assert (small.first.out_features, small.norm.num_features) == (2, 2)
    assert (small.last.in_features, small.last.out_features) == (3, 3)
    assert torch.equal(small.first.weight, model.first.weight[[1, 3]])
    assert small.stored.tolist() == model.stored[[1, 3]].tolist()
    assert small.scale.tolist() == model.scale[[1, 3]].tolist() and small.steady.tolist() == model.steady.tolist()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert (model.first.out_features, len(model.scale)) == (4, 4)


def test_whole_matrices_share_their_memory_and_vectors_do_not() -> None:
    """A step of training may change what few numbers there are; a copy of the large ones would take memory."""
    model = randomise_(Scaled())
    small = cut_model(model, {("norm.running_mean", 0): at(0)})
    for name in ("first.weight", "last.weight"):
        assert small.get_parameter(name).data_ptr() == model.get_parameter(name).data_ptr()
        assert small.get_parameter(name) is not model.get_parameter(name)
    own, theirs = (dict(net.named_parameters()) | dict(net.named_buffers()) for net in (small, model))
    for name in ("first.bias", "norm.weight", "norm.num_batches_tracked", "stored", "steady"):
        assert own[name].data_ptr() != theirs[name].data_ptr()
        assert torch.equal(own[name], theirs[name])
    assert len(small.norm.running_mean) == 1


@pytest.mark.parametrize("frozen", [F, T])
def test_a_smaller_parameter_is_trained_if_the_whole_one_is(frozen: bool) -> None:
    model = Scaled().requires_grad_(not frozen)
    assert {p.requires_grad for p in cut_model(model, KEPT).parameters()} == {not frozen}


def test_a_parameter_that_is_in_a_list_too_is_not_cut() -> None:
    model = Scaled()
    model.own = [model.last.weight]
    cut_model(model, {key: left for key, left in KEPT.items() if key[0] != "last.weight"})
    said = r"^own\[0\] holds the parameter last\.weight a second time, and would keep its old size; use last\.weight it"
    with pytest.raises(StructureError, match=said):
        cut_model(model, KEPT)


def test_buffers_that_no_file_holds_are_cut_by_themselves() -> None:
    model = Scaled()
    steady, stored = model.steady, model.stored
    cut_unstored_(model, KEPT)
    assert model.scale.tolist() == [1, 3]
    assert model.steady is steady and model.stored is stored
    assert "scale" not in model.state_dict()


def convolutions(a: int, b: int, c: int, groups: int) -> nn.Sequential:
    layers = [nn.Conv2d(1, a, 3), nn.Conv2d(a, a, 3, groups=a), nn.ConvTranspose2d(a, b, 2)]
    return nn.Sequential(*layers, nn.Conv2d(b, c, 1, groups=groups), nn.Flatten(), nn.Linear(25 * c, 3))


def test_convolutions_of_a_smaller_network_have_their_widths() -> None:
    begun = checkpoint_of(randomise_(convolutions(6, 8, 4, 2)), (1, 8, 8))
    small = shrink(prune(begun, None, criterion="structured-random", sparsity=0.5)).model
    a, b, c = (small[i].weight.shape[axis] for i, axis in ((0, 0), (2, 1), (3, 0)))
    assert a < 6 and b < 8
    assert str(small) == str(convolutions(a, b, c, small[3].groups))


def dense() -> Scaled:
    torch.manual_seed(1)
    return Scaled()


def test_the_original_shapes_hold_what_is_left_and_zeros_with_masks_over_them() -> None:
    small = cut_model(randomise_(Scaled()), KEPT).eval()
    mask = torch.tensor([[T, F], [T, T], [F, T]])
    whole, masks = grown(small, Masks({"last.weight": mask}), dense(), KEPT)
    state, part = whole.state_dict(), small.state_dict()
    assert {name: t.shape for name, t in state.items()} == {name: t.shape for name, t in dense().state_dict().items()}
    for name in ("first.weight", "first.bias", "norm.weight", "norm.bias", "norm.running_mean", "stored"):
        assert torch.equal(state[name][[1, 3]], part[name])
        assert not state[name][[0, 2]].any()
    assert torch.equal(state["last.weight"][:, [1, 3]], part["last.weight"])
    assert not state["last.weight"][:, [0, 2]].any()
    assert state["norm.running_var"].tolist() == [1, part["norm.running_var"][0], 1, part["norm.running_var"][1]]
    assert state["norm.num_batches_tracked"] == part["norm.num_batches_tracked"]
    half = [F, T, F, T]
    assert {name: found.tolist() for name, found in masks.items()} == {
        "first.weight": [[side] * 2 for side in half],
        "first.bias": half,
        "norm.weight": half,
        "norm.bias": half,
        "last.weight": [[F, T, F, F], [F, T, F, T], [F, F, F, T]],
    }
    assert not whole.training and not whole.norm.training
    back = cut_model(whole, KEPT)
    assert all(torch.equal(tensor, part[name]) for name, tensor in back.state_dict().items())


def test_what_was_not_cut_is_copied_with_its_mask() -> None:
    model = randomise_(Scaled()).train()
    masks = Masks({"last.weight": torch.rand(3, 4) > 0.5})
    whole, found = grown(model, masks, dense(), {})
    assert [*found] == ["last.weight"] and torch.equal(found["last.weight"], masks["last.weight"])
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in whole.state_dict().items())
    assert whole.last.weight.data_ptr() != model.last.weight.data_ptr()
    assert whole.training and whole.norm.training


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.two.weight = self.one.weight


def test_a_tied_weight_has_one_mask_in_the_original_shapes() -> None:
    """A mask under its second name would be refused where a file is read."""
    kept = {(f"{name}.weight", axis): at(0, 3) for name in ("one", "two") for axis in (0, 1)}
    small = cut_model(Tied(), kept)
    assert small.one.weight is small.two.weight and small.one.weight.shape == (2, 2)
    for masks in (Masks.dense(), Masks({"one.weight": torch.tensor([[T, F], [T, T]])})):
        whole, found = grown(small, masks, Tied(), kept)
        assert whole.one.weight is whole.two.weight
        assert [*found] == ["one.weight"]
        found.check(whole, "x.st")
        assert found.kept(whole) == masks.kept(small)
