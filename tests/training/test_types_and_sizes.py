"""Networks in half, bfloat16 and double precision through every operation; a single training image."""

import copy

import pytest
import torch
from torch import nn

import prunectl
from prunectl.errors import OptionError
from prunectl.exchange.export import export
from tests.helpers.marks import quick
from tests.helpers.networks import image_data, randomise_

TYPES = {"half": torch.float16, "bfloat16": torch.bfloat16, "double": torch.float64}


def network() -> nn.Sequential:
    """A convolution and a hidden layer, both with BatchNorm."""
    features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    return nn.Sequential(features, nn.Linear(4 * 36, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


@pytest.mark.parametrize("name", quick(TYPES, ["half"]))
def test_every_operation_takes_every_type(name: str, tmp_path) -> None:
    torch.manual_seed(0)
    dtype, data = TYPES[name], image_data(24)
    dense = randomise_(network()).to(dtype)
    trained = prunectl.train(dense, data, epochs=1, batch_size=8, teacher=copy.deepcopy(dense))
    thin = prunectl.prune(trained, data, criterion="snap", sparsity=0.3, batch_size=8, repair="refit")
    for criterion in ("snip", "cnip"):
        assert prunectl.prune(trained, data, criterion=criterion, sparsity=0.5, batch_size=8).model
    small = prunectl.shrink(thin)
    assert {p.dtype for p in small.model.parameters()} == {dtype}
    again = prunectl.train(small, data, epochs=1, batch_size=8, adv_eps=0.1, adv_steps=1)
    assert 0 <= prunectl.evaluate(again, data, latency=False)["accuracy"] <= 1
    prunectl.attack(again, data, attack="pgd", eps=[0.1], n=4, options={"steps": 2})
    prunectl.corrupt(again, data, corruptions=["contrast"], n=4)
    prunectl.save(small, tmp_path / "small.safetensors")
    loaded = prunectl.load(tmp_path / "small.safetensors", model=lambda: network().to(dtype))
    assert {p.dtype for p in loaded.parameters()} == {dtype}
    assert export(small, tmp_path / "small.pt2").difference == 0


ONE = [(torch.ones(1, 1, 8, 8), torch.tensor([0]))]


def test_one_training_image_and_batch_norm() -> None:
    message = "BatchNorm normalises by the batch, but has only 1 value per channel: use batches of 2 images or more"
    with pytest.raises(OptionError, match=message):
        prunectl.train(network(), ONE, epochs=1)
    with pytest.warns(UserWarning, match="2 of 3 classes have no"), pytest.raises(OptionError, match=message):
        prunectl.prune(network(), ONE, criterion="snip", sparsity=0.5, options={"bn": "batch"})
    with pytest.warns(UserWarning, match="2 of 3 classes have no"):
        assert prunectl.prune(network(), ONE, criterion="snip", sparsity=0.5).masks
