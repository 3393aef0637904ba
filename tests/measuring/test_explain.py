"""Explain tells what hangs together, what each group holds, and what stays and why."""

import json

import pytest
from torch import nn

from prunectl.errors import UnknownName
from prunectl.measuring.explain import explain, explain_network
from tests.helpers.networks import checkpoint_of
from tests.helpers.structure_networks import SHAPE, Residual, chain
from tests.helpers.toys import TOYS

NETWORK = """
import torch

class Branching(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.fc = torch.nn.Linear(64, classes)

    def forward(self, x):
        x = self.fc(x.flatten(1))
        return x if x.sum() > 0 else -x

def build(input_shape, classes):
    return Branching(classes)
"""


def causes(told: dict) -> list[tuple[str, str, list[list[object]]]]:
    return [(cause["why"], cause["operation"], cause["axes"]) for cause in told["frozen"]]


def test_a_chain() -> None:
    told = explain_network(chain(), SHAPE)
    assert (told["nodes"], told["parameters"], told["untouchable"]) == (15, 392, 3)
    assert told["prunable_share"] == pytest.approx(389 / 392)
    assert told["flops"] == 2 * (64 * 36 + 16 * 180 + 120 + 18)
    groups = [(g["nodes"], g["made_by"], g["read_by"]) for g in told["groups"]]
    assert groups == [
        (4, ["0.weight"], ["4.weight"]),
        (5, ["4.weight"], ["8.weight"]),
        (6, ["8.weight"], ["12.weight"]),
    ]
    held = [round(392 * g["parameters_share"]) for g in told["groups"]]
    assert held == [36 + 4 + 8 + 180, 180 + 5 + 120, 120 + 6 + 12 + 18]
    flops = [round(told["flops"] * g["flops_share"]) // 2 for g in told["groups"]]
    assert flops == [64 * 36 + 16 * 180, 16 * 180 + 120, 120 + 18]
    assert causes(told) == [("an output of the network", "output", [["12.weight", 0, 3, 3], ["12.bias", 0, 3, 3]])]


def test_kept_layers_stay_with_all_nodes_on_their_axes() -> None:
    """Layer 4 reads 4 nodes and makes 5; the 6 of layer 8 are left."""
    told = explain_network(chain(), SHAPE, keep=["4"])
    assert [(g["nodes"], g["made_by"], g["read_by"]) for g in told["groups"]] == [(6, ["8.weight"], ["12.weight"])]
    assert told["nodes"] == 6
    assert told["untouchable"] == 36 + 4 + 8 + 180 + 5 + 3
    *others, (why, operation, axes) = causes(told)
    assert others == causes(explain_network(chain(), SHAPE))
    assert (why, operation) == ("kept by --keep", "")
    assert ["4.weight", 0, 5, 5] in axes and ["8.weight", 1, 20, 20] in axes and ["8.weight", 0, 6, 6] not in axes
    with pytest.raises(UnknownName, match="no layer named '5'"):
        explain_network(chain(), SHAPE, keep=["5"])


def test_kept_layers_are_shown_on_the_command_line(cli) -> None:
    shown = cli("explain", "--model", "lenet300", "--keep", "classifier")
    assert "- kept by --keep: " in shown
    assert json.loads(cli("explain", "--model", "lenet300", "--keep", "classifier", "--json"))["nodes"] == 300


def test_an_addition_makes_one_group() -> None:
    (group,) = explain_network(Residual(), SHAPE)["groups"]
    assert group == {
        "nodes": 4,
        "made_by": ["stem.weight", "inner.weight"],
        "read_by": ["inner.weight", "head.weight"],
        "parameters_share": (40 + 148 + 12) / (40 + 148 + 15),
        "flops_share": 1.0,
    }


def test_what_a_softmax_over_channels_freezes() -> None:
    build, shape = TOYS["softmax-channels"]
    told = explain_network(build(), shape)
    found = causes(told)
    assert ("reads the image", "conv2d", [["stem.0.weight", 1, 3, 3]]) in found
    frozen = [["body.conv.weight", 0, 8, 8], ["body.conv.bias", 0, 8, 8]]
    assert ("reduced over, and removed entries would count", "softmax", frozen) in found
    (line,) = [cause["line"] for cause in told["frozen"] if cause["operation"] == "softmax"]
    assert line.endswith("return self.out(x * self.conv(x).softmax(1))")
    assert [(g["nodes"], g["made_by"]) for g in told["groups"]] == [(8, ["body.out.weight"])]


def test_positions_of_kernels_are_left_out() -> None:
    build, shape = TOYS["weight-standardised"]
    axes = [axis for cause in explain_network(build(), shape)["frozen"] for axis in cause["axes"]]
    assert axes
    assert all(axis < 2 for _, axis, _, _ in axes)


def test_a_network_without_nodes() -> None:
    build, shape = TOYS["eca"]
    told = explain_network(build(), shape)
    assert (told["nodes"], told["groups"], told["prunable_share"]) == (0, [], 0.0)
    assert told["untouchable"] == told["parameters"]
    assert ("convolved over", "conv1d") in [cause[:2] for cause in causes(told)]


def test_the_network_stays_as_it_is() -> None:
    model = chain().train()
    assert explain_network(model, SHAPE) == explain_network(chain().eval(), SHAPE)
    assert model.training


def test_the_command_prints_the_same_as_the_library_returns(net, cli, tmp_path) -> None:
    told = json.loads(cli("explain", net.name, "--json"))
    assert (told["model"], told["input"], told["nodes"]) == ("lenet300", [1, 28, 28], 400)
    assert told == json.loads(cli("explain", "--json", stdin=f"{net.name}\n"))
    assert told == json.loads(cli("explain", "--model", "lenet300", "--input", "1x28x28", "--classes", 10, "--json"))
    assert told == json.loads(cli("explain", "--model", "lenet300", "--data", "synthetic", "--json"))
    assert set(explain(checkpoint_of(chain(), SHAPE))) == set(told)
    assert cli("explain", "net.prune.shrink.safetensors").startswith("lenet300, shrunk: 1x28x28 images, ")


def test_the_page_for_a_person(net, cli) -> None:
    assert (
        cli("explain", net.name)
        == """\
lenet300: 1x28x28 images, 532k FLOPs, 400 nodes in 2 groups
removals can reach 267,400 of 267,410 parameters

 nodes  params   FLOPs  made by     read by
   300   99.5%   99.6%  features.1  features.4
   100   11.7%   11.6%  features.4  classifier.0
A weight between two groups counts for both: shares add up to more than 100 %.

what stays, and why
- reads the image (linear): 1 axis
    features.1.weight axis 1: 784
- an output of the network: 2 axes
    classifier.0.weight axis 0: 10
    classifier.0.bias axis 0: 10
"""
    )


def test_it_fits_80_columns(cli, monkeypatch) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    for name in (
        "tests.helpers.shallow:built -M name=vision_transformer",
        "tests.helpers.shallow:built -M name=swin_transformer",
        "resnet18",
    ):
        page = cli("explain", "--input", "3x64x64", "--model", *name.split()).splitlines()
        assert max(map(len, page)) <= 80
        assert all(line == line.rstrip() for line in page)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--model resnet17", "no model named 'resnet17'; did you mean 'resnet18'?"),
        ("--model resnet18 --input 224", "--input takes channels, height and width, such as 3x224x224, got '224'"),
        ("--model resnet18 --input 3x0x224", "--input takes channels, height and width, such as 3x224x224, got"),
        ("--model resnet18 --input 3x32x32 --data digits", "use --input CxHxW, or --data and --image-size, not both"),
        ("net.safetensors --model resnet18", "expected a CHECKPOINT or --model, got both: net.safetensors and res"),
        ("net.safetensors --input 1x28x28", "--data, --image-size, --input and -M are for --model; a checkpoint has"),
        (
            "--model net.py:build --input 1x8x8",
            "net.py:11 (Branching.forward): it branches on values of tensors;",
        ),
    ],
)
def test_what_cannot_work(line, words, net, tmp_path, refused) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    assert words in refused("explain", *line.split())


def test_image_channels_are_a_group_where_outer_layers_may_go() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.Flatten(), nn.Linear(8, 3, bias=False))
    told = explain_network(model, (3, 2, 2), outer=True)
    assert [(g["nodes"], g["made_by"], g["read_by"]) for g in told["groups"]] == [
        (2, ["0.weight"], ["2.weight"]),
        (3, [], ["0.weight"]),
    ]
