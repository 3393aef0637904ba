"""Repairs of small networks: outputs come closer to the dense ones, masks stay, the same seed makes the same bytes."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import prunectl
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.repair import RepairOptions
from prunectl.data.images import ImageData
from prunectl.errors import OptionError, UnknownName
from prunectl.masks import Masks, prunable
from prunectl.pruning.prune import prune
from prunectl.pruning.repair import refit
from prunectl.pruning.repair import repair as module
from prunectl.pruning.repair.repair import repair
from prunectl.pruning.shrink import shrink
from tests.helpers.marks import one_in, quick
from tests.helpers.networks import checkpoint_of, image_data, randomise_
from tests.helpers.node_networks import SHAPE, Chain
from tests.helpers.toys import TOYS

REPAIRED = (
    "residual",
    "grouped-4",
    "encoder-layer",
    "convnext",
    "conv-transpose",
    "added-into-part",
    "conv3d",
    "windows",
)
"""Toys with residual sums, groups, attention, layer scale, transposed convolutions and writes into views."""


def dense_toy(name: str) -> Checkpoint:
    build, shape = TOYS[name]
    torch.manual_seed(0)
    model = build().eval()
    return checkpoint_of(model, shape)


def weight_masked(dense: Checkpoint, sparsity: float = 0.5) -> Checkpoint:
    generator = torch.Generator().manual_seed(1)
    model = copy.deepcopy(dense.model)
    named = prunable(model).items()
    masks = Masks({name: torch.rand(weight.shape, generator=generator) > sparsity for name, weight in named})
    masks.apply_(model)
    return replace(dense, model=model, masks=masks)


def outputs(checkpoint: Checkpoint, data: ImageData) -> torch.Tensor:
    with torch.no_grad():
        return copy.deepcopy(checkpoint.model).eval()(checkpoint.preprocessing(data.train.pixels))


def distance(one: Checkpoint, other: Checkpoint, data: ImageData) -> float:
    return float((outputs(one, data) - outputs(other, data)).square().mean())


@pytest.fixture(scope="module")
def chain() -> tuple[Checkpoint, ImageData]:
    """A chain whose BatchNorm statistics are those of its images."""
    torch.manual_seed(0)
    data = image_data(80, SHAPE)
    dense = replace(checkpoint_of(randomise_(Chain()).eval(), SHAPE), builder=Chain)
    return repair(dense, data, RepairOptions("bn")), data


@pytest.mark.parametrize("name", one_in(3, REPAIRED))
def test_the_outputs_of_a_network_come_closer_to_the_dense_ones(name: str) -> None:
    dense = dense_toy(name)
    data = image_data(60, dense.spec.input)
    dense = repair(dense, data, RepairOptions("bn"))
    pruned = weight_masked(dense)
    repaired = repair(pruned, data, reference=dense)
    assert distance(repaired, dense, data) < distance(pruned, dense, data)
    assert repaired.masks is pruned.masks
    for name, parameter in repaired.model.named_parameters():
        assert not parameter[~pruned.masks.of(name, parameter)].any()
    layers = repaired.history[-1].result["layers"]
    assert layers and all(layer["after"] <= layer["before"] for layer in layers)


def test_a_layer_is_the_least_squares_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first layer of a network sees the images themselves, and its patches can be written down."""
    monkeypatch.setattr(refit, "RIDGES", (1e-13,))
    torch.manual_seed(0)
    dense = checkpoint_of(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)), SHAPE)
    data = image_data(50, SHAPE)
    pruned = weight_masked(dense)
    repaired = repair(pruned, data, reference=dense)
    images = dense.preprocessing(data.train.pixels)
    patches = nn.functional.unfold(images, 3).transpose(1, 2).reshape(-1, 9).double().numpy()
    with torch.no_grad():
        wanted = dense.model[0](images).flatten(2).transpose(1, 2).reshape(-1, 4).double().numpy()
    for channel in range(4):
        chosen = pruned.masks["0.weight"][channel].flatten().numpy()
        x = np.hstack([patches[:, chosen], np.ones((len(patches), 1))])
        expected = np.linalg.lstsq(x, wanted[:, channel], rcond=None)[0]
        found = repaired.model[0].weight[channel].detach().flatten().numpy()
        np.testing.assert_allclose(found[chosen], expected[:-1], atol=1e-6)
        np.testing.assert_allclose(repaired.model[0].bias[channel].item(), expected[-1], atol=1e-6)


def test_a_layer_with_too_many_inputs_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """144 inputs, of which all have kept weights, take 144 · 144 · 8 bytes; the first layer has 9."""
    torch.manual_seed(0)
    dense = checkpoint_of(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 30)), SHAPE)
    pruned, data = weight_masked(dense), image_data(50, SHAPE)
    for most, wide in ((144 * 144 * 8, None), (144 * 144 * 8 - 1, ["3.weight"])):
        monkeypatch.setattr(refit, "MOST_PRODUCTS", most)
        repaired = repair(pruned, data, reference=dense)
        result = repaired.history[-1].result
        assert result.get("too_wide") == wide
        assert [layer["layer"] for layer in result["layers"]] == ["0.weight", "3.weight"][: 1 if wide else 2]
    assert torch.equal(repaired.model[3].weight, pruned.model[3].weight)


def test_bn_is_the_mean_and_variance_over_the_images(chain) -> None:
    dense, data = chain
    stale = replace(dense, model=randomise_(copy.deepcopy(dense.model), seed=5))
    fresh = repair(stale, data, RepairOptions("bn")).model.eval()
    seen: list[np.ndarray] = []
    for norm in (fresh.norm1, fresh.norm2):
        hook = norm.register_forward_pre_hook(lambda _, x: seen.append(x[0].double().numpy()))
        with torch.no_grad():
            fresh(stale.preprocessing(data.train.pixels))
        hook.remove()
        values = seen.pop().transpose(1, 0, 2, 3).reshape(norm.num_features, -1)
        np.testing.assert_allclose(norm.running_mean.numpy(), values.mean(1), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(norm.running_var.numpy(), values.var(1, ddof=1), rtol=1e-5)
    for name, parameter in fresh.named_parameters():
        assert torch.equal(parameter, dict(stale.model.named_parameters())[name])


@pytest.mark.parametrize("method", quick(["refit", "scale", "bn"], ["refit"]))
def test_the_same_seed_makes_the_same_network(chain, method: str) -> None:
    dense, data = chain
    pruned = weight_masked(dense)
    before = copy.deepcopy(pruned.model.state_dict())
    one, two, other = (repair(pruned, data, RepairOptions(method, n=40, seed=s), reference=dense) for s in (3, 3, 4))
    states = [c.model.state_dict() for c in (one, two, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in before)
    assert not all(torch.equal(states[0][name], states[2][name]) for name in before)
    assert all(torch.equal(value, pruned.model.state_dict()[name]) for name, value in before.items())
    assert one.history == two.history


def test_variances_of_channels_come_closer(chain) -> None:
    dense, data = chain
    layers = repair(weight_masked(dense), data, RepairOptions("scale"), reference=dense).history[-1].result["layers"]
    assert [layer["layer"] for layer in layers] == ["conv1.weight", "conv2.weight", "hidden.weight", "head.weight"]
    assert all(layer["after"] < layer["before"] for layer in layers)


def test_what_is_in_files_is_what_would_be_in_memory(chain, monkeypatch: pytest.MonkeyPatch) -> None:
    dense, data = chain
    pruned = weight_masked(dense)
    expected = repair(pruned, data, reference=dense).model.state_dict()
    monkeypatch.setattr(module, "LEAST_KEPT", 0)
    found = repair(pruned, data, reference=dense).model.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_in_place_makes_the_same_network_out_of_the_pruned_one(chain) -> None:
    dense, data = chain
    pruned, given = weight_masked(dense), weight_masked(dense)
    expected = repair(pruned, data, reference=dense)
    found = repair(given, data, reference=dense, in_place=True)
    assert found.model is given.model
    state = expected.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found.model.state_dict().items())
    assert found.history == expected.history


def test_a_shrunk_network_is_repaired_as_the_masked_one(chain) -> None:
    dense, data = chain
    pruned = prune(dense, None, criterion="structured-random", sparsity=0.5)
    masked = repair(pruned, data, reference=dense)
    small = repair(shrink(pruned), data, reference=dense)
    assert sum(p.numel() for p in small.model.parameters()) < sum(p.numel() for p in masked.model.parameters())
    torch.testing.assert_close(outputs(small, data), outputs(masked, data), rtol=1e-4, atol=1e-5)
    assert distance(small, dense, data) < 0.5 * distance(pruned, dense, data)


def test_noise_takes_the_place_of_images(chain) -> None:
    dense, data = chain
    pruned = weight_masked(dense, 0.3)
    repaired = repair(pruned, None, RepairOptions(calibration="noise", n=200), reference=dense)
    assert distance(repaired, dense, data) < distance(pruned, dense, data)
    assert repaired.history[-1].options["data"] is None


def test_a_weight_that_two_layers_share_stays() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flat, self.inner, self.head = nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.inner(self.inner(self.flat(x))))

    dense, data = checkpoint_of(Tied(), SHAPE), image_data(40, SHAPE)
    pruned = weight_masked(dense)
    repaired = repair(pruned, data, reference=dense)
    assert [layer["layer"] for layer in repaired.history[-1].result["layers"]] == ["head.weight"]
    assert torch.equal(repaired.model.inner.weight, pruned.model.inner.weight)


def test_prune_and_repair_is_one_command(chain) -> None:
    dense, data = chain
    alone = prune(dense, data, criterion="magnitude", sparsity=0.5)
    both = prune(dense, data, criterion="magnitude", sparsity=0.5, repair="refit")
    after = repair(alone, data, reference=dense)
    assert len(both.history) == len(alone.history)
    assert both.history[-1].options == {**alone.history[-1].options, "repair": "refit"}
    assert both.history[-1].result == {**alone.history[-1].result, **after.history[-1].result}
    expected = after.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in both.model.state_dict().items())


def test_modules_and_loaders_of_the_users_own() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    images = torch.randn(40, *SHAPE)
    loader = [(images[i : i + 10], torch.arange(10) % 3) for i in range(0, 40, 10)]
    pruned = prunectl.prune(net, loader, criterion="magnitude", sparsity=0.5)
    repaired = prunectl.repair(pruned, loader, reference=net)
    with torch.no_grad():
        before, after = ((c.model(images) - net(images)).square().mean() for c in (pruned, repaired))
    assert after < before


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        ({"method": "obs"}, UnknownName, "obs"),
        ({"calibration": "nothing"}, UnknownName, "nothing"),
        ({"n": 9}, OptionError, "`n` must be 10 images or more, got 9"),
        ({"method": "bn", "calibration": "noise"}, OptionError, "needs images, not noise"),
    ],
)
def test_options_that_cannot_work(asked, error, text) -> None:
    with pytest.raises(error, match=text):
        RepairOptions(**asked)


def test_what_cannot_be_repaired(chain) -> None:
    dense, data = chain
    pruned = weight_masked(dense)
    with pytest.raises(OptionError, match="nothing to repair"):
        repair(dense, data, reference=dense)
    with pytest.raises(OptionError, match="no dense network to compare with; pass `reference`"):
        repair(pruned, data)
    with pytest.raises(OptionError, match="needs training images: add `data`"):
        repair(pruned, None, reference=dense)
    with pytest.raises(OptionError, match="10 training images or more, test has 9"):
        repair(pruned, image_data(9, SHAPE), reference=dense)
    other = replace(dense, spec=replace(dense.spec, name="other"))
    with pytest.raises(OptionError, match="the reference is other for 1x8x8 images of 3 classes, but the pruned"):
        repair(pruned, data, reference=other)
