"""Networks in half, bfloat16 and double: what is true of float32 is true of them, in Python as on the command line."""

import pytest
import torch
from torch import nn

import prunectl
from prunectl.checkpoints.pixels import deployed
from prunectl.errors import CheckpointError
from tests.helpers.marks import quick
from tests.helpers.own_networks import Residual, loader

TYPES = [torch.float16, torch.bfloat16, torch.float64]


@pytest.fixture(params=quick(TYPES, [torch.bfloat16]), ids=["half", "bfloat16", "double"])
def dtype(request):
    return request.param


def net(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    return Residual().to(dtype)


def types(model: nn.Module) -> set[torch.dtype]:
    return {parameter.dtype for parameter in model.parameters()}


def test_what_is_stored_is_what_was_proved(dtype, tmp_path) -> None:
    pruned = prunectl.prune(net(dtype), loader(), criterion="snap", sparsity=0.5)
    small = prunectl.shrink(pruned)
    assert types(small.model) == {dtype}
    assert small.proof["float64"] <= 1e-10
    if dtype != torch.float64:
        assert small.proof[str(dtype).removeprefix("torch.")] == 0
    path = prunectl.save(small, tmp_path / "x.safetensors")
    again = prunectl.load(path, model=lambda: net(dtype))
    images = next(iter(loader()))[0].to(dtype)
    with torch.no_grad():
        assert torch.equal(again(images), small.model.eval()(images))
        assert torch.equal(deployed(again)(images.float()), again(images).float())


def test_a_builder_of_another_type_is_one_line(tmp_path) -> None:
    pruned = prunectl.prune(net(torch.float16), loader(), criterion="magnitude", sparsity=0.5)
    path = prunectl.save(pruned, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"expected float32 .*build the network in its type: \.to\(torch.float16"):
        prunectl.load(path, model=Residual)


def test_it_is_trained_in_its_type(dtype) -> None:
    trained = prunectl.train(net(dtype), loader(), epochs=1, opt="adamw", amp=True, clip=1.0, ema=0.5)
    assert types(trained.model) == {dtype}
    assert prunectl.prune(trained.model, loader(), criterion="snip", sparsity=0.5, amp=True).masks


def test_it_is_measured_and_attacked(dtype) -> None:
    unit = [(images.sigmoid(), labels) for images, labels in loader()]
    record = prunectl.evaluate(net(dtype), unit)
    assert record["latency"][0]["median_s"] > 0
    attacked = prunectl.attack(net(dtype), unit, attack="pgd", eps=[0.001, 1.0], n=8)
    small, whole = (result["robust_accuracy"] for result in attacked["results"])
    assert attacked["clean_accuracy"] >= small >= whole == 0
    assert not [warning for warning in attacked["warnings"] if "gradient is zero" in warning]
