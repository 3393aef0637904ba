import math
from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from prunectl.data.load import load_data
from prunectl.errors import DataError, OptionError
from prunectl.models.fresh import fresh
from prunectl.plugins.registry import TABLES, resolve
from tests.helpers.marks import quick

NAMES = list(TABLES["model"])
SMALL = ["logistic-regression", "mlp5", "lenet300", "lenet5", "conv6", "conv-only"]  # built for real in no time
GREY, RGB, LARGE = (1, 28, 28), (3, 32, 32), (3, 64, 64)


def build(name: str, shape=RGB, classes=10, device="cpu", **options) -> nn.Module:
    with torch.device(device):
        return resolve("model", name)(shape, classes, **options)


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items()}


def prunable(model: nn.Module) -> list[Tensor]:
    return [module.weight for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize(
    ("name", "shape", "parameters", "weights", "nodes"),
    [
        ("logistic-regression", GREY, 7_850, 7_840, 0),
        ("mlp5", GREY, 1_199_114, 1_192_960, 4 * 512),
        ("lenet300", GREY, 267_410, 266_200, 300 + 100),
        ("lenet5", GREY, 142_798, 142_110, 6 + 16 + 120 + 84),
        ("conv6", RGB, 1_806_666, 1_802_432, 1_408),
        ("conv-only", RGB, 174_442, 173_568, 64 + 128 + 64 + 32),
        ("alexnet", RGB, 28_275_530, 28_246_720, 9_600),
        ("vgg16", RGB, 50_703_946, 50_665_152, 12_928),
        ("resnet18", RGB, 11_707_978, 11_693_760, 5_056),
        ("resnet34", RGB, 21_819_850, 21_794_496, 8_768),
        # parameters as published or as widely used ports have them, see the docstrings for the sources
        ("resnet20", RGB, 269_722, 268_336, 16 + 6 * 16 + 6 * 32 + 6 * 64),
        ("resnet56", RGB, 853_018, 848_944, 16 + 18 * 16 + 18 * 32 + 18 * 64),
        ("wrn-16-4", RGB, 2_748_890, 2_745_264, 16 + 5 * 64 + 5 * 128 + 5 * 256),
        ("vgg19-bn", RGB, 20_035_018, 20_024_000, 2 * 64 + 2 * 128 + 4 * 256 + 8 * 512),
        ("mobilenetv2-cifar", RGB, 2_236_682, 2_202_560, 17_056),
        ("vit-tiny-cifar", RGB, 5_362_762, 3_992_448, 192 + 12 * (192 + 768 + 192)),
    ],
)
def test_the_sizes_are_those_of_their_sources(name, shape, parameters, weights, nodes):
    model = build(name, shape, device="meta")
    assert sum(value.numel() for value in model.parameters()) == parameters
    assert sum(weight.numel() for weight in prunable(model)) == weights
    assert sum(len(weight) for weight in prunable(model)) - 10 == nodes


@pytest.mark.parametrize("shape", quick([GREY, RGB, LARGE], [RGB]))
@pytest.mark.parametrize("name", NAMES)
def test_every_network_takes_every_image_size(name, shape):
    model = build(name, shape, classes=7, device="meta")
    images = torch.empty(2, *shape, device="meta")
    assert model.train()(images).shape == (2, 7)
    assert model.eval()(images).shape == (2, 7)


@pytest.mark.parametrize("name", SMALL)
def test_a_new_network_trains(name):
    model = build(name, GREY)
    loss = nn.functional.cross_entropy(model(torch.rand(2, *GREY)), torch.tensor([0, 9]))
    loss.backward()
    assert loss.isfinite()
    assert all(value.grad.isfinite().all() for value in model.parameters())


@pytest.mark.parametrize("name", [*SMALL, "resnet18"])
def test_weights_begin_orthogonal_and_biases_zero(name):
    model = build(name)
    *hidden, last = prunable(model)
    # the rows of a wide matrix, or the columns of a tall one, have length `gain` and are at right angles
    for weight, gain in [*((weight, math.sqrt(2 / (1 + 0.05**2))) for weight in hidden), (last, 1.0)]:
        matrix = weight.detach().flatten(1)
        matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        torch.testing.assert_close(matrix @ matrix.T, gain**2 * torch.eye(len(matrix)), atol=1e-4, rtol=0)
    assert all(not value.any() for key, value in model.named_parameters() if key.endswith("bias"))


@pytest.mark.parametrize("name", [*SMALL, "resnet18"])
def test_the_meta_device_gives_the_same_shapes(name):
    model = build(name, device="meta")
    assert all(value.is_meta for value in model.state_dict().values())
    assert shapes(model) == shapes(build(name))


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_decides_the_weights(name):
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(prunable(build(name, GREY)))
    once, again, other = drawn
    assert all(map(torch.equal, once, again))
    assert not any(map(torch.equal, once, other))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("mobilenetv2-cifar", "vit-tiny-cifar")])
def test_hooks_and_fx_see_every_layer_exactly_once(name):
    model = build(name, device="meta")
    leaves = {
        key
        for key, module in model.named_modules()
        if not list(module.children()) and type(module).__module__.startswith("torch.nn")
    }
    graph = torch.fx.symbolic_trace(model).graph
    assert Counter(node.target for node in graph.nodes if node.op == "call_module") == Counter(leaves)
    assert not any(getattr(module, "inplace", False) for module in model.modules())


@pytest.mark.parametrize(
    ("name", "smallest"),
    [("lenet5", 28), ("conv6", 4), ("conv-only", 26), ("alexnet", 7), ("vgg16", 16), ("mlp5", 1), ("resnet18", 1)],
)
def test_images_below_the_smallest_that_work_are_refused(name, smallest):
    model = build(name, (1, smallest, smallest), device="meta")
    assert model(torch.empty(2, 1, smallest, smallest, device="meta")).shape == (2, 10)
    for shape in ((1, smallest - 1, smallest), (1, smallest, smallest - 1), (0, smallest, smallest)):
        with pytest.raises(
            DataError, match=f"^{name} needs .* 1x{smallest}x{smallest} .*, got {'x'.join(map(str, shape))};"
        ):
            build(name, shape)
    if smallest > 1:  # and torch would refuse them as well
        with pytest.raises(RuntimeError):
            model(torch.empty(2, 1, smallest - 1, smallest - 1, device="meta"))


def test_mlp5_has_the_width_asked_for():
    assert [len(weight) for weight in prunable(build("mlp5", hidden=8))] == [8, 8, 8, 8, 10]
    with pytest.raises(OptionError, match="at least 1, got 0"):
        build("mlp5", hidden=0)


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
@pytest.mark.parametrize(("stem", "side"), [("imagenet", 8), ("cifar", 32)])
def test_the_stem_decides_the_resolution(name, stem, side):
    model = build(name, device="meta", stem=stem)
    assert model.stem(torch.empty(2, *RGB, device="meta")).shape == (2, 64, side, side)


@pytest.mark.parametrize("name", ["resnet20", "resnet56"])
def test_the_shortcut_of_a_resnet_for_cifar_is_padding_or_a_convolution(name):
    padded, projected = build(name, device="meta"), build(name, device="meta", shortcut="conv")
    added = sum(p.numel() for p in projected.parameters()) - sum(p.numel() for p in padded.parameters())
    assert added == (16 * 32 + 32 * 64) + 2 * (32 + 64)
    with pytest.raises(OptionError, match="'pad' or 'conv', got 'b'"):
        build(name, shortcut="b")


@pytest.mark.parametrize(("name", "parameters"), [("resnet20", 68_050), ("resnet56", 214_546)])
def test_a_resnet_for_cifar_of_half_the_width(name, parameters):
    narrow = build(name, device="meta", width=8)
    assert sum(p.numel() for p in narrow.parameters()) == parameters
    assert narrow.linear.weight.shape == (10, 32)
    with pytest.raises(OptionError, match=f"the width of {name} must be at least 1, got 0"):
        build(name, width=0)


def test_the_shortcut_without_parameters_puts_zeros_around_every_other_place():
    image = torch.arange(32.0).reshape(1, 2, 4, 4)
    result = build("resnet20", device="cpu").layer2[0].shortcut.__class__(2, 4)(image)
    assert result.tolist() == [[[[0, 0]] * 2, [[0, 2], [8, 10]], [[16, 18], [24, 26]], [[0, 0]] * 2]]


@pytest.mark.parametrize("shape", [(3, 32, 28), (3, 30, 30), (3, 2, 2)])
def test_the_transformer_takes_square_images_of_whole_patches(shape):
    with pytest.raises(DataError, match=f"^vit-tiny-cifar needs .* got {'x'.join(map(str, shape))}"):
        build("vit-tiny-cifar", shape)


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2-cifar", "vit-tiny-cifar"])
def test_a_new_network_for_cifar_tells_images_apart(name):
    torch.manual_seed(0)
    logits = build(name).train()(torch.randn(16, *RGB))
    assert 0.01 < logits.std(0).mean() < 10


def test_an_unknown_stem_is_refused():
    with pytest.raises(OptionError, match="'imagenet' or 'cifar', got 'vit'"):
        build("resnet18", stem="vit")


OWN = """
from torch import nn
def net(input, classes, *, head="10"):
    last = nn.Conv2d(4, 10, 1) if head == "maps" else nn.Sequential(nn.Flatten(), nn.Linear(4, int(head)))
    return nn.Sequential(nn.Conv2d(input[0], 4, 3), nn.AdaptiveAvgPool2d(1), last)
"""


@pytest.mark.parametrize(("head", "given"), [("7", "(1, 7)"), ("20", "(1, 20)"), ("maps", "(1, 10, 1, 1)")])
def test_ones_own_network_must_give_a_logit_for_each_class(head, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(OWN)
    data = load_data("digits")
    assert fresh("net.py:net", data, source="digits").dense.nodes == 4
    with pytest.raises(OptionError) as error:
        fresh("net.py:net", data, source="digits", options={"head": head})
    assert str(error.value) == f"net.py:net returns {given} for one image, expected logits (1, 10), one per class"
