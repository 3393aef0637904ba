"""A network takes the tensors of a file: filled where they fit, replaced where they do not, with widths to match."""

import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from prunectl.errors import CheckpointError
from prunectl.structure.surgery.resize import check_tensors, load_state_, set_tensor_


def numbered(model: nn.Module) -> dict[str, Tensor]:
    """A state with other values: each tensor counts from its own place."""
    state = model.state_dict()
    return {name: (torch.arange(t.numel()) + i).view(t.shape).to(t.dtype) for i, (name, t) in enumerate(state.items())}


def test_keys_that_are_missing_or_unknown_are_named_three_at_most() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(6)))
    state = model.state_dict()
    own = {f"{i}.weight": state[f"{i}.weight"] for i in (0, 5)}
    other = {f"{name}.bias": torch.ones(2) for name in "dcba"}
    said = "^x.st does not fit the network that its header names: missing {}, unknown {}$"
    few, many = "['1.weight', '2.weight', '3.weight']", "['a.bias', 'b.bias', 'c.bias']"
    for given, missing, unknown in (
        ({**own, **other}, few, many),
        (own, few, "nothing"),
        ({**state, **other}, "nothing", many),
    ):
        with pytest.raises(CheckpointError, match=said.format(re.escape(missing), re.escape(unknown))):
            load_state_(model, given, "x.st")
    load_state_(model, state, "x.st")


def test_a_tensor_that_fits_is_filled_and_stays_the_networks_own() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before, state = dict(model.named_parameters()) | dict(model.named_buffers()), numbered(model)
    load_state_(model, state, "x.st")
    after = dict(model.named_parameters()) | dict(model.named_buffers())
    assert all(after[name] is before[name] for name in before)
    assert all(torch.equal(after[name], state[name]) for name in state)
    assert all(after[name].data_ptr() != state[name].data_ptr() for name in state)


@pytest.mark.parametrize("shape", [(2, 3), (4, 5), (1, 4), (3, 1), (5, 2)])
def test_a_tensor_that_is_smaller_or_larger_is_replaced(shape: tuple[int, int]) -> None:
    model = nn.Linear(4, 3)
    state = {"weight": torch.rand(shape), "bias": torch.rand(shape[0])}
    load_state_(model, state, "x.st")
    assert (model.out_features, model.in_features) == shape
    assert torch.equal(model.weight, state["weight"]) and torch.equal(model.bias, state["bias"])
    assert isinstance(model.weight, nn.Parameter) and model.weight.requires_grad


def test_a_tensor_of_another_type_is_replaced() -> None:
    model = nn.Linear(2, 2)
    state = {name: tensor.double() for name, tensor in numbered(model).items()}
    load_state_(model, state, "x.st")
    assert model.weight.dtype == torch.float64 and torch.equal(model.weight, state["weight"])


def test_a_frozen_parameter_stays_frozen_in_another_shape() -> None:
    model = nn.Linear(4, 3)
    model.weight.requires_grad_(False)
    load_state_(model, {"weight": torch.rand(2, 4), "bias": torch.rand(2)}, "x.st")
    assert not model.weight.requires_grad and model.bias.requires_grad


@pytest.mark.parametrize("given", [torch.contiguous_format, torch.channels_last])
def test_a_network_without_memory_takes_the_tensors_in_its_own_format(given: torch.memory_format) -> None:
    formats = (torch.channels_last, torch.contiguous_format)
    with torch.device("meta"):
        model = nn.Sequential(*(nn.Conv2d(2, 3, 2).to(memory_format=own) for own in formats))
    state = {name: torch.rand(t.shape) for name, t in model.state_dict().items()}
    state |= {f"{i}.weight": state[f"{i}.weight"].contiguous(memory_format=given) for i in (0, 1)}
    load_state_(model, state, "x.st")
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    for i, own in enumerate(formats):
        assert model[i].weight.is_contiguous(memory_format=own)
        copied = model[i].weight.data_ptr() != state[f"{i}.weight"].data_ptr()
        assert copied == (own != given)


class Tied(nn.Module):
    """Two layers share a weight, two norms share a buffer; names come in both orders."""

    def __init__(self) -> None:
        super().__init__()
        self.b, self.a, self.c = (nn.Linear(3, 3, bias=False) for _ in range(3))
        self.a.weight = self.c.weight = self.b.weight
        self.one, self.two = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
        self.two.running_mean = self.one.running_mean


@pytest.mark.parametrize("size", [3, 2])
def test_what_is_tied_stays_tied(size: int) -> None:
    model = Tied()
    weight = torch.rand(size, size)
    norms = {name: t for name, t in model.state_dict().items() if name not in ("a.weight", "b.weight", "c.weight")}
    load_state_(model, {**norms, **{f"{name}.weight": weight for name in "abc"}}, "x.st")
    assert model.a.weight is model.b.weight is model.c.weight
    assert torch.equal(model.a.weight, weight)
    assert model.one.running_mean is model.two.running_mean
    assert {layer.out_features for layer in (model.a, model.b, model.c)} == {size}


class WithMore(nn.Linear):
    """Saves a number of its own besides its tensors."""

    def get_extra_state(self) -> Tensor:
        return torch.tensor(7)

    def set_extra_state(self, state: Tensor) -> None:
        self.more = int(state)


def test_what_a_network_saves_besides_its_tensors_is_given_back_to_it() -> None:
    model = WithMore(2, 2)
    load_state_(model, {**model.state_dict(), "_extra_state": torch.tensor(9)}, "x.st")
    assert model.more == 9


def layers() -> nn.Sequential:
    convolutions = [nn.Conv2d(6, 6, 1, groups=6), nn.Conv2d(6, 4, 1, groups=2), nn.ConvTranspose2d(4, 6, 2, groups=2)]
    rest = [nn.Conv1d(2, 3, 1), nn.ConvTranspose3d(3, 5, 1), nn.BatchNorm2d(5), nn.InstanceNorm2d(5), nn.Linear(5, 7)]
    return nn.Sequential(*convolutions, *rest, parametrizations.weight_norm(nn.Linear(7, 2)), nn.Bilinear(2, 3, 4))


def test_a_network_that_takes_its_own_tensors_has_its_own_widths() -> None:
    model = layers()
    load_state_(model, model.state_dict(), "x.st")
    assert str(model) == str(layers())


def test_widths_of_every_kind_of_layer_follow_its_tensors() -> None:
    model = layers()
    model[0].groups = 4
    sizes = {
        **{"0.weight": (4, 1, 1, 1), "0.bias": (4,), "1.weight": (2, 2, 1, 1), "1.bias": (2,)},
        **{"2.weight": (2, 1, 2, 2), "2.bias": (2,), "3.weight": (1, 3, 1), "3.bias": (1,)},
        **{"4.weight": (3, 2, 1, 1, 1), "4.bias": (2,), "7.weight": (3, 4), "7.bias": (3,)},
        **{f"5.{name}": (4,) for name in ("weight", "bias", "running_mean", "running_var")},
        **{
            "8.parametrizations.weight.original0": (1, 1),
            "8.parametrizations.weight.original1": (1, 3),
            "8.bias": (1,),
        },
    }
    load_state_(model, {n: torch.ones(sizes[n]) if n in sizes else t for n, t in model.state_dict().items()}, "x.st")
    assert [(m.in_channels, m.out_channels) for m in model[:5]] == [(4, 4), (4, 2), (2, 2), (3, 1), (3, 2)]
    assert (model[5].num_features, model[6].num_features) == (4, 5)
    assert [(m.in_features, m.out_features) for m in model[7:9]] == [(4, 3), (3, 1)]


def refused(model: nn.Module, state: dict[str, Tensor], kept: dict[tuple[str, int], Tensor] | None = None) -> str:
    with pytest.raises(CheckpointError) as error:
        check_tensors(model, state, kept or {})
    return str(error.value)


AS_WRITTEN = "use the file as prunectl wrote it"


def test_a_type_or_shape_that_does_not_fit_is_named() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    state = model.state_dict()
    check_tensors(model, state, {})
    for size in ((2, 4), (4, 4), (3, 3), (3, 5), (12,)):
        found, said = "x".join(map(str, size)), refused(model, {**state, "0.weight": torch.rand(size)})
        assert said == f"0.weight is float32 {found}, expected float32 3x4; {AS_WRITTEN}"
    for dtype in (torch.float64, torch.bfloat16):
        said = refused(model, {**state, "0.bias": state["0.bias"].to(dtype)})
        name = str(dtype).removeprefix("torch.")
        built = f"or build the network in its type: .to(torch.{name})"
        assert said == f"0.bias is {name} 3, expected float32 3; {AS_WRITTEN}, {built}"
    counted = {**state, "1.num_batches_tracked": torch.tensor([1])}
    assert refused(model, counted) == f"1.num_batches_tracked is int64 1, expected int64 scalar; {AS_WRITTEN}"


def test_what_was_cut_is_expected_to_be_smaller() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    kept = {("0.weight", 0): torch.tensor([0, 2]), ("0.weight", 1): torch.tensor([1, 2, 3])}
    state = {**model.state_dict(), "0.weight": torch.rand(2, 3)}
    check_tensors(model, state, kept)
    assert refused(model, model.state_dict(), kept).startswith("0.weight is float32 3x4, expected float32 2x3; ")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_where_a_network_needs_them(value: float) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model.register_buffer("own", torch.zeros(2))
    state = model.state_dict()
    for name in ("0.weight", "1.running_var"):
        broken = torch.full_like(state[name], 1.0)
        broken.view(-1)[-1] = value
        assert refused(model, {**state, name: broken}) == f"{name} has values that are not finite; use an earlier file"
    check_tensors(model, {**state, "own": torch.full((5,), value)}, {})


def test_one_tensor_is_replaced_by_name() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    own = nn.Parameter(torch.ones(3, 2))
    set_tensor_(model, "0.weight", own)
    set_tensor_(model, "0.bias", torch.ones(3))
    set_tensor_(model, "1.running_mean", torch.ones(3))
    assert model[0].weight is own
    assert isinstance(model[0].bias, nn.Parameter) and model[0].bias.requires_grad
    assert type(model[1].running_mean) is Tensor and len(model[1].running_mean) == 3
    top = nn.Linear(2, 2)
    top.weight.requires_grad_(False)
    set_tensor_(top, "weight", torch.ones(1, 2))
    set_tensor_(top, "bias", torch.ones(1, dtype=torch.int64))
    assert not top.weight.requires_grad and not top.bias.requires_grad
