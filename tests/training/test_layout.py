"""The memory format of convolutions: by a rule of the layers alone, and of no consequence but for speed."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from prunectl.checkpoints.build import OWN
from prunectl.checkpoints.checkpoint import Checkpoint, read, write
from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.measuring.accuracy import accuracy, batch_for
from prunectl.models.mlp import mlp5
from prunectl.pruning.prune import prune
from prunectl.robustness.attack import attack
from prunectl.robustness.network import opened
from prunectl.torchtools.layout import CHANNELS_LAST, CONTIGUOUS, Layer, fastest, gains, lay_out_, layout
from prunectl.training.recipe import Recipe
from prunectl.training.state import State
from prunectl.training.trainer import Trainer
from tests.helpers.networks import fresh_checkpoint, image_data

SHAPE = (3, 8, 8)


def wide(width: int = 16, groups: int = 1) -> nn.Sequential:
    """A network whose middle convolution does most of its work."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
        *(nn.Conv2d(width, width, 3, padding=1, groups=groups), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3)),
    )


def built() -> nn.Sequential:
    return wide()


class Viewed(nn.Module):
    """Its code takes contiguous feature maps alone."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = wide()[:6], nn.Linear(16 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(x)
        return self.head(features.view(len(features), -1))


def begun() -> Checkpoint:
    return fresh_checkpoint(wide, SHAPE)


def is_last(weight: Tensor) -> bool:
    return weight.is_contiguous(memory_format=CHANNELS_LAST) and not weight.is_contiguous()


@pytest.mark.parametrize(
    ("layers", "trained", "asked"),
    [
        ([Layer(True, 64, 1, 36_864, 100)], True, True),
        ([Layer(True, 6, 1, 36_864, 100)], False, False),  # narrow
        ([Layer(True, 64, 64, 576, 51), Layer(True, 64, 1, 4096, 49)], False, False),  # depthwise for the most part
        ([Layer(True, 64, 1, 4096, 94), Layer(False, 64, 1, 4096, 6)], False, False),  # linear for a part
        ([Layer(True, 64, 1, 4096, 89), Layer(True, 512, 1, 2_359_296, 11)], False, True),  # large kernels
        ([Layer(True, 64, 1, 4096, 69), Layer(True, 512, 1, 2_359_296, 31)], False, False),
        ([Layer(False, 512, 1, 262_144, 100)], False, False),
        ([], False, False),
    ],
)
def test_the_rule_is_that_of_the_measurements(layers: list[Layer], trained: bool, asked: bool) -> None:
    assert gains(layers, by_weights=True) == trained
    assert gains(layers, by_weights=False) == asked


def test_in_bfloat16_a_network_gains_whatever_the_width() -> None:
    narrow = [Layer(True, 6, 1, 864, 60), Layer(False, 84, 1, 840, 40)]
    assert gains(narrow, by_weights=True, rounded=True)
    assert not gains([Layer(True, 6, 1, 864, 40), Layer(False, 84, 1, 840, 60)], by_weights=True, rounded=True)
    assert layout(wide(8), SHAPE, training=True, amp=True) == CHANNELS_LAST
    assert layout(wide(8), SHAPE, amp=True) == CHANNELS_LAST
    assert layout(wide(8).double(), SHAPE, training=True, amp=True) == CONTIGUOUS


def test_only_the_layers_decide() -> None:
    assert layout(wide(), SHAPE) == layout(wide(), SHAPE, training=True) == CHANNELS_LAST
    assert layout(wide(8), SHAPE) == layout(wide(groups=16), SHAPE) == CONTIGUOUS
    assert layout(mlp5(SHAPE, 3), SHAPE) == CONTIGUOUS
    model = wide()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert layout(model.train(), SHAPE) == layout(model.eval(), SHAPE) == CHANNELS_LAST
    assert not model.training


def test_a_network_that_views_its_feature_maps_stays_contiguous_and_trains() -> None:
    model = Viewed()
    assert layout(model, SHAPE) == layout(model, SHAPE, training=True) == CONTIGUOUS
    trainer = Trainer(fresh_checkpoint(Viewed, SHAPE), image_data(shape=SHAPE), Recipe(epochs=1, batch_size=16))
    assert sum(1 for _ in trainer.steps()) == 4


def test_a_network_is_as_before_once_it_has_run_in_its_fastest_layout() -> None:
    model = wide().eval()
    weights, before = list(model.parameters()), copy.deepcopy(model.state_dict())
    x = torch.randn(4, *SHAPE)
    with torch.no_grad():
        expected = model(x)
        with fastest(model, SHAPE):
            assert is_last(model[0].weight)
            assert is_last(model[3].weight)
            torch.testing.assert_close(model(x), expected)
    assert all(one is other for one, other in zip(model.parameters(), weights, strict=True))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.is_contiguous() for parameter in model.parameters())
    with torch.inference_mode(), fastest(model, SHAPE):
        pass
    model(x).sum().backward()
    kept = wide().to(memory_format=CHANNELS_LAST)
    with fastest(kept, SHAPE):
        pass
    assert is_last(kept[3].weight)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (4, 4)])
def test_kernels_that_look_alike_in_both_formats_get_the_strides_of_the_one(channels: int, groups: int) -> None:
    kernel = nn.Conv2d(channels, 4, 3, groups=groups)
    values = kernel.weight.detach().clone()
    lay_out_(kernel, CHANNELS_LAST)
    assert kernel.weight.stride() == (9, 1, 3, 1)
    lay_out_(kernel, CONTIGUOUS)
    assert kernel.weight.stride() == (9, 9, 3, 1)
    assert torch.equal(kernel.weight, values)


def test_an_attack_in_bfloat16_is_in_the_layout_of_bfloat16() -> None:
    checkpoint = fresh_checkpoint(lambda *_: wide(8), SHAPE)
    for amp in (False, True):
        with opened(checkpoint, amp=amp):
            assert is_last(checkpoint.model[3].weight) == amp
        assert checkpoint.model[3].weight.is_contiguous()


@pytest.mark.parametrize("opt", ["adam", "sgd", "rmsprop"])
def test_a_training_in_channels_last_resumes_to_the_same_bytes(opt: str, tmp_path: Path) -> None:
    data, recipe = image_data(shape=SHAPE), Recipe(epochs=2, batch_size=16, opt=opt, lr=0.01, clip=1.0, ema=0.9)
    masked = prune(begun(), data, criterion="snip", sparsity=0.6, batch_size=16)
    assert all(parameter.is_contiguous() for parameter in masked.model.parameters())
    whole = Trainer(masked, data, recipe)
    assert is_last(whole.model[3].weight)
    saved: State | None = None
    for i, _ in enumerate(whole.steps()):
        saved = whole.state() if i == 2 else saved
        for parameter, slots in whole.learner.optimizer.state.items():
            assert all(v.stride() == parameter.stride() for v in slots.values() if v.shape == parameter.shape)
        assert not whole.model[3].weight[~masked.masks["3.weight"]].any()
    resumed = Trainer(masked, data, recipe, saved)
    for _ in resumed.steps():
        pass
    one, other = (trainer.result().model.state_dict() for trainer in (whole, resumed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    own = replace(begun().spec, name=f"{OWN}wide")
    write(replace(whole.result(), spec=own), tmp_path / "a.safetensors")
    again = read(tmp_path / "a.safetensors", model=built).model
    assert all(torch.equal(tensor, one[name]) for name, tensor in again.state_dict().items())


def test_a_network_that_gets_narrow_goes_on_contiguous() -> None:
    """With it goes what the optimiser holds, which a fused step reads in the parameter's format."""
    during = GradualPruning("efficient-convnets", 0.4, prune_delay=1, prune_every=1, steps=1, schedule="one-shot")
    data = image_data(shape=SHAPE)
    trainer = Trainer(begun(), data, Recipe(epochs=3, batch_size=16, prune=during))
    formats = []
    for _ in trainer.steps():
        formats.append(is_last(trainer.model[3].weight))
        for parameter, slots in trainer.learner.optimizer.state.items():
            assert all(v.stride() == parameter.stride() for v in slots.values() if v.shape == parameter.shape)
    assert formats[0]
    assert not formats[-1]


def test_code_of_others_sees_contiguous_weights_in_a_training() -> None:
    slowing = Recipe(epochs=1, batch_size=16, opt="tests.helpers.optimizers:Slowing")
    assert Trainer(begun(), image_data(shape=SHAPE), slowing).model[3].weight.is_contiguous()


def test_accuracy_and_attacks_are_those_of_the_contiguous_network(monkeypatch: pytest.MonkeyPatch) -> None:
    network, data = begun(), image_data(shape=SHAPE)

    def measured() -> tuple[float, float, float]:
        found = accuracy(network.model, data.test, network.preprocessing, classes=3)
        record = attack(network, data, attack="pgd", eps=[0.02])
        return found.loss, found.top1, record["results"][0]["robust_accuracy"]

    fast = measured()
    monkeypatch.setattr("prunectl.torchtools.layout.layout", lambda *_, **__: CONTIGUOUS)
    slow = measured()
    assert fast[1:] == slow[1:]
    assert fast[0] == pytest.approx(slow[0], rel=1e-5)


def test_attacks_see_contiguous_gradients() -> None:
    x = torch.rand(4, *SHAPE, requires_grad=True)
    network = begun()
    with opened(network) as (victim,):
        assert is_last(network.model[3].weight)
        (gradient,) = torch.autograd.grad(victim(x).sum(), x)
    assert gradient.is_contiguous()
    assert gradient.any()


def test_batches_of_an_evaluation_are_bounded_by_their_bytes() -> None:
    assert batch_for((3, 32, 32)) == 512
    assert batch_for((3, 224, 224)) == 55
    assert batch_for((3, 4096, 4096)) == 1
