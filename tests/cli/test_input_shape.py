"""Networks that are built for a shape, without a dataset, and synthetic images of any shape."""

import json
import shlex
from pathlib import Path

import pytest
import torch

from prunectl.checkpoints.checkpoint import read
from prunectl.checkpoints.lineage import lineage
from prunectl.data.images import Preprocessing
from prunectl.data.load import load_data
from prunectl.data.source import NetworkInput
from prunectl.errors import OptionError
from prunectl.models.published import published_input

CONV = "--model lenet5 --input 3x28x28 --classes 7"
PRUNE = f"prune {CONV} -c magnitude -s 0.5 -o net.safetensors"


def test_a_criterion_of_weights_needs_a_shape_alone(tmp_path, cli):
    assert cli(*shlex.split(PRUNE)) == "net.safetensors\n"
    made = read(tmp_path / "net.safetensors")
    assert (made.spec.input, made.spec.classes, made.data, made.names) == ((3, 28, 28), 7, "", ())
    assert made.preprocessing == Preprocessing((0.0,) * 3, (1.0,) * 3)
    assert made.model(torch.zeros(2, 3, 28, 28)).shape == (2, 7)
    assert made.history[0].result["weight_sparsity"] == pytest.approx(0.5, abs=1e-4)
    assert made.history[0].options["data"] is None


def test_the_name_says_the_shape(cli):
    assert cli("prune", "--model", "lenet5", "--input", "1x28x28", "-c", "magnitude") == (
        "lenet5-1x28x28.prune.safetensors\n"
    )


def test_1000_classes_unless_told(tmp_path, cli):
    cli("train", "--model", "logistic-regression", "--input", "1x2x2", "--epochs", "0", "-o", "net.safetensors")
    made = read(tmp_path / "net.safetensors")
    assert (made.spec.classes, made.history[0].options["data"], made.history[0].options["steps"]) == (1000, None, 0)


def test_the_same_commands_again(tmp_path, cli):
    cli(*shlex.split(PRUNE))
    assert lineage(tmp_path / "net.safetensors")[0].arguments[:6] == [
        *("prune", "--model=lenet5", "--input=3x28x28", "--classes=7", "--criterion=magnitude", "--sparsity=0.5"),
    ]
    cli("rerun", "net.safetensors")  # the same bytes


def test_every_other_command_says_that_there_are_no_images(tmp_path, cli, refused):
    cli(*shlex.split(PRUNE))
    for command in ("eval", "attack", "train"):
        assert "the checkpoint names no dataset; add --data, such as --data imagefolder:photos" in refused(
            command, "net.safetensors"
        )
    for command in ("inspect", "log"):
        assert "3x28x28 images of 7 classes, data none\n" in cli(command, "net.safetensors")
    cli("explain", "net.safetensors")
    cli("shrink", "net.safetensors")


@pytest.mark.long
def test_the_first_images_become_the_networks_own(tmp_path, cli):
    cli(*shlex.split(PRUNE))
    cli("eval", "net.safetensors", "--data", "synthetic", "--no-latency")
    cli("train", "net.safetensors", "--data", "synthetic", "--epochs", "1", "--subset", "64", "-o", "t.safetensors")
    trained, images = read(tmp_path / "t.safetensors"), load_data("synthetic", network=NetworkInput((3, 28, 28), 7))
    assert (trained.data, trained.names, trained.preprocessing) == (
        "synthetic",
        ("0", "1", "2", "3", "4", "5", "6"),
        images.preprocessing,
    )
    assert json.loads(cli("eval", "t.safetensors", "--no-latency", "--json"))["data"] == {"name": "synthetic"}
    flags = [step.arguments for step in lineage(tmp_path / "t.safetensors")]
    assert "--input=3x28x28" in flags[0]
    assert "--data=synthetic" in flags[1]
    cli("rerun", "t.safetensors")


@pytest.mark.long
def test_a_network_of_torchvision_takes_synthetic_images(tmp_path, cli):
    cli(
        *shlex.split(
            "prune --model torchvision/resnet18 --data synthetic --image-size 32 -c snip -b 16 -o net.safetensors"
        )
    )
    made = read(tmp_path / "net.safetensors")
    assert (made.spec.input, made.spec.classes, made.data) == ((3, 32, 32), 10, "synthetic")
    assert json.loads(cli("explain", *shlex.split("--model torchvision/alexnet --data synthetic --json")))["input"] == [
        *(3, 224, 224)
    ]


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        ("torchvision/resnet50", (3, 224, 224)),
        ("timm/vit_base_patch16_384", (3, 384, 384)),
        ("timm/test_vit", (3, 160, 160)),
        ("timm/no-such-network", (3, 224, 224)),
        ("lenet5", None),
        ("net.py:build", None),
        ("timm/", None),
    ],
)
def test_the_input_that_a_network_is_published_for(model, shape):
    assert published_input(model) == shape


@pytest.mark.long
def test_synthetic_images_of_a_shape():
    data = load_data("synthetic:3x64x48")
    assert (data.shape, len(data.classes), len(data.train), len(data.test)) == ((3, 64, 48), 10, 2000, 500)
    assert data.described == {"name": "synthetic", "source": "synthetic:3x64x48"}
    assert load_data("synthetic:3x64x64", image_size=8).shape == (3, 8, 8)
    large = load_data("synthetic", network=NetworkInput((3, 224, 224), 1000))
    assert (large.shape, len(large.classes), len(large.train), len(large.test)) == ((3, 224, 224), 1000, 222, 55)
    assert large.train.labels.tolist() == list(range(222))


def test_a_networks_own_shape_is_that_of_before():
    plain, shaped = load_data("synthetic"), load_data("synthetic", network=NetworkInput((1, 28, 28), 10))
    assert plain.train.pixels.equal(shaped.train.pixels)
    assert plain.test.pixels.equal(load_data("synthetic:1x28x28").test.pixels)
    assert plain.train.pixels[:2, 0, 0, :4].tolist() == [[183, 199, 0, 41], [0, 6, 0, 0]]


@pytest.mark.parametrize("text", ["3x64", "0x4x4", "3x4x4x4", "axbxc", "/tmp"])
def test_shapes_that_are_none(text):
    with pytest.raises(OptionError, match="expected channels, height and width, as in synthetic:3x64x64"):
        load_data(f"synthetic:{text}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "prune --model lenet5 --input 3x28x28",
            "criterion snipit scores on images; add --data, such as --data sy",
        ),
        ("prune --model lenet5 --classes 3", "--classes is for --input; --data sets its own number of classes"),
        ("prune net.safetensors --input 3x28x28", "--input is for --model; a checkpoint has its own input shape"),
        (
            "prune --model lenet5 --input 3x28x28 --data digits",
            "expected --input or --data digits, got both: these",
        ),
        (
            "prune --model lenet5 --input 3x20 -c magnitude",
            "--input takes channels, height and width, such as 3x224x224, got ",
        ),
        (
            "train --model lenet5 --input 3x28x28",
            "training needs images: add --data, such as --data synthetic, or ",
        ),
        ("train --model lenet5 --input 3x28x28 --epochs 0 -c gmp", "training needs images: add --data"),
        ("prune --model lenet5 --input 3x2x2 -c magnitude", "lenet5 needs images of at least"),
    ],
)
def test_what_a_shape_does_not_go_with(line, message, refused):
    assert message in refused(*shlex.split(line))


def test_a_shape_with_synthetic_images(tmp_path: Path, cli):
    cli(*shlex.split(f"prune {CONV} --data synthetic -c snip -b 16 -o net.safetensors"))
    made = read(tmp_path / "net.safetensors")
    assert (made.spec.input, made.spec.classes, made.data) == ((3, 28, 28), 7, "synthetic")
    cli("eval", "net.safetensors", "--no-latency")
    assert lineage(tmp_path / "net.safetensors")[0].arguments[2:5] == [
        *("--data=synthetic", "--input=3x28x28", "--classes=7"),
    ]
    cli("rerun", "net.safetensors")  # the same bytes
