"""The networks of torchvision and timm: built by name for any images, without weights, in the pipe like any other."""

import builtins
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from prunectl.checkpoints.checkpoint import read, write
from prunectl.checkpoints.versions import versions
from prunectl.errors import DataError, OptionError, UnknownName
from prunectl.models.fresh import fresh
from prunectl.plugins.options import keyword_options
from prunectl.plugins.registry import check, resolve
from prunectl.training.recipe import Recipe
from prunectl.training.train import train
from tests.helpers.marks import quick, quick_rows
from tests.helpers.networks import image_data

RGB = (3, 64, 64)


def build(name: str, shape=RGB, classes=7, device="meta", **options) -> nn.Module:
    with torch.device(device):
        return resolve("model", name)(shape, classes, **options)


@pytest.mark.parametrize(("name", "more"), [("timm/resnet10t", {"timm"}), ("mlp5", set()), ("net.py:timm", set())])
def test_the_version_of_a_library_stands_in_the_history(name, more):
    assert versions(name).keys() == {"prunectl", "torch", "cpu"} | more


@pytest.mark.parametrize(
    ("name", "shape"),
    quick_rows(
        [
            ("torchvision/resnet50", RGB),
            ("torchvision/mobilenet_v3_small", (3, 32, 40)),
            ("torchvision/vit_b_32", RGB),
            ("torchvision/maxvit_t", (3, 224, 224)),
            ("torchvision/regnet_y_400mf", RGB),  # its widths are computed with tensors, which the meta device cannot
            ("torchvision/googlenet", RGB),  # no auxiliary logits in training
            ("torchvision/inception_v3", (3, 96, 96)),
            ("timm/resnet10t", (1, 32, 32)),
            ("timm/convnext_atto", (4, 64, 96)),
            ("timm/vit_tiny_patch16_224", (1, 64, 32)),
            ("timm/test_vit.r160_in1k", RGB),  # the tag names weights, which are not fetched
            ("timm/swin_tiny_patch4_window7_224", RGB),
        ],
        chosen=(1, 2, 4, 5, 8, 10),
    ),
)
@pytest.mark.parametrize("device", quick(["meta", "cpu"], ["meta"]))
def test_a_network_takes_the_images_and_classes(name, shape, device):
    check("model", name)
    model = build(name, shape, device=device)
    images = torch.zeros(2, *shape, device=device)
    assert model.train()(images).shape == (2, 7)
    assert model.eval()(images).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnet5", "no model named 'timm/resnet5'; did you mean 'timm/resnet50'?"),
        ("torchvision/resnet-18", "no model named 'torchvision/resnet-18'; did you mean 'torchvision/resnet18'?"),
        ("torchvision/quantized_resnet18", "no model named .*; did you mean 'torchvision/.*'?"),
        ("resnet5", r"no model named 'resnet5'; did you mean 'resnet\d\d'?"),
        ("torch/resnet18", "no model named 'torch/resnet18'"),
    ],
)
def test_an_unknown_name(name, message):
    with pytest.raises(UnknownName, match=f"^{message.replace('?', '[?]')}"):
        resolve("model", name)


def test_timm_that_is_not_installed(monkeypatch):
    install = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "timm":
            raise ImportError("No module named 'timm'")
        return install(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnknownName, match=r"^timm/resnet10t needs the package timm: pip install 'prunectl\[timm\]'$"):
        resolve("model", "timm/resnet10t")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("torchvision/resnet18", (1, 64, 64), "takes images with 3 channels, got 1x64x64"),
        ("torchvision/alexnet", (3, 28, 28), "does not take images of 3x28x28 .*: .*too small"),
        ("torchvision/vit_b_16", (3, 30, 30), "does not take images of 3x30x30 .*: Input shape indivisible"),
        ("torchvision/vit_b_16", (3, 32, 64), "does not take images of 3x32x64"),
        ("timm/nest_tiny", (3, 40, 40), "does not take images of 3x40x40"),
    ],
)
def test_images_that_do_not_fit(name, shape, message):
    with pytest.raises(DataError, match=f"^{name} {message}") as error:
        build(name, shape, device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm/resnet10t", {"pretrained": True}, "option 'pretrained' is set by prunectl"),
        ("timm/resnet10t", {"checkpoint_path": "x.pth"}, "option 'checkpoint_path' is set by prunectl"),
        ("torchvision/resnet18", {"weights": "DEFAULT"}, "option 'weights' is set by prunectl"),
        ("torchvision/resnet18", {"depth": 3}, "has no such option: .*'depth'"),
        ("timm/resnet10t", {"depth": 3}, "has no such option: .*'depth'"),
        ("timm/resnet10t", {"features_only": True}, r"returns list in training, expected logits \(2, 7\)"),
        ("torchvision/googlenet", {"aux_logits": True}, "returns GoogLeNetOutputs in training"),
    ],
)
def test_options_that_cannot_be(name, options, message):
    with pytest.raises(OptionError, match=f"^{name}:? {message}") as error:
        build(name, device="cpu", **options)
    assert "\n" not in str(error.value)


def test_options_pass_through():
    given = {"drop_rate": "0.25", "zero_init_last": "False", "output_stride": "32", "global_pool": "max"}
    options = keyword_options(resolve("model", "timm/resnet10t"), given, "model")
    assert options == {"drop_rate": 0.25, "zero_init_last": False, "output_stride": 32, "global_pool": "max"}
    assert build("timm/resnet10t", **options).drop_rate == 0.25


@pytest.mark.parametrize(
    ("name", "options"),
    quick_rows(
        [
            ("torchvision/mobilenet_v3_small", {"dropout": "0.1"}),
            ("torchvision/mnasnet0_5", {}),  # looks at the version in a state_dict
            ("timm/resnet10t", {"drop_rate": "0.1"}),
            ("timm/test_vit", {}),
        ],
        chosen=[2],
    ),
)
def test_from_fresh_to_file_and_back(name, options, tmp_path: Path):
    data = image_data(16, (3, 32, 32))
    begun = fresh(name, data, source="test", options=options)
    trained = train(begun, data, Recipe(epochs=1, batch_size=16))
    write(trained, tmp_path / "x.safetensors")
    back = read(tmp_path / "x.safetensors")
    assert back.spec == begun.spec
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(back.model.eval()(images), trained.model.eval()(images))
    changed = zip(begun.model.parameters(), trained.model.parameters(), strict=True)
    assert any(not torch.equal(before, after) for before, after in changed)


def test_built_in_names_start_without_the_libraries():
    code = (
        "import sys; from prunectl.plugins.registry import check, resolve; "
        "check('model', 'timm/resnet10t'); check('model', 'torchvision/nothing'); resolve('model', 'resnet18'); "
        "sys.exit(any(name in sys.modules for name in ('torchvision', 'timm')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
