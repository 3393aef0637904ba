"""--pretrained: train and prune begin with published weights, of the caches of their libraries or of folders."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.models import save_for_hf
from torchvision import models

from prunectl.checkpoints.checkpoint import read
from prunectl.exchange.usage import published_weights

SQUEEZENET = "--model torchvision/squeezenet1_1 --pretrained"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache of torch hub with SqueezeNet, and a folder of timm."""
    folder = tmp_path_factory.mktemp("published")
    place = folder / "hub" / "checkpoints"
    place.mkdir(parents=True)
    torch.manual_seed(0)
    url = published_weights("squeezenet1_1", None).url
    torch.save(models.squeezenet1_1().state_dict(), place / Path(url).name)
    net = timm.create_model("test_vit2", num_classes=12, img_size=32)
    save_for_hf(net, folder / "vit", model_args={"img_size": 32}, safe_serialization=True)
    return folder


@pytest.fixture(autouse=True)
def _offline(cache, tmp_path, monkeypatch):
    """No server, and an image folder of two classes."""
    monkeypatch.setenv("TORCH_HOME", str(cache))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nothing"))
    for i in range(12):
        place = tmp_path / "fm" / ("train" if i < 8 else "test") / f"class{i % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32, 3), 20 * i, np.uint8)).save(place / f"{i}.png")


def stored(cache):
    (file,) = (cache / "hub" / "checkpoints").iterdir()
    return torch.load(file, weights_only=True)


def test_pruning_begins_with_published_weights(cli, cache, tmp_path) -> None:
    out = cli("prune", *SQUEEZENET.split(), "-c", "magnitude", "-s", "0.5")
    assert out == "squeezenet1_1-pretrained.prune.safetensors\n"
    found, theirs = read(tmp_path / out.strip()), stored(cache)
    assert (found.spec.input, found.spec.classes, found.names[0]) == ((3, 224, 224), 1000, "tench")
    for name, tensor in found.model.state_dict().items():
        kept = found.masks.of(name, tensor)
        assert torch.equal(tensor[kept], theirs[name][kept])
    first = found.history[0]
    assert (first.command, first.options["pretrained"]) == ("import", "torchvision/squeezenet1_1")
    assert (first.options["weights"], len(first.options["sha256"])) == ("IMAGENET1K_V1", 64)
    cli("rerun", out.strip(), "--download")


@pytest.mark.long
def test_layers_for_other_classes_are_fresh(cli, cache, tmp_path) -> None:
    line = f"train {SQUEEZENET} --data imagefolder:fm --image-size 32 --epochs 1 -b 4 --seed 3 -o net.safetensors"
    cli(*line.split())
    found = read(tmp_path / "net.safetensors")
    assert (found.spec.input, found.names) == ((3, 32, 32), ("class0", "class1"))
    assert found.preprocessing.mean == (0.485, 0.456, 0.406)  # of the weights, not of these images
    first = found.history[0]
    assert first.options["allow_missing"] == ["classifier.1.weight", "classifier.1.bias"]
    assert first.result["missing"] == ["classifier.1.bias", "classifier.1.weight"]
    steps = json.loads(cli("log", "net.safetensors", "--json"))["steps"]
    assert [step["command"] for step in steps] == ["train"]
    cli("rerun", "net.safetensors", "--download")


@pytest.mark.long
def test_all_weights_but_the_head_are_theirs(cli, cache, tmp_path) -> None:
    cli(*f"train {SQUEEZENET} --input 3x32x32 --classes 2 --epochs 0 -o net.safetensors".split())
    ours, theirs = read(tmp_path / "net.safetensors").model.state_dict(), stored(cache)
    assert {name for name in ours if not ours[name].equal(theirs[name])} == {
        "classifier.1.weight",
        "classifier.1.bias",
    }
    cli("rerun", "net.safetensors", "--download")


@pytest.mark.long
def test_a_folder_of_timm(cli, cache, tmp_path) -> None:
    line = (
        f"prune --model timm/local-dir:{cache}/vit --pretrained --data synthetic -c magnitude -s 0.5 -o vit.safetensors"
    )
    cli(*line.split())
    found = read(tmp_path / "vit.safetensors")
    assert (found.spec.name, found.spec.input, found.spec.classes) == ("timm/test_vit2", (3, 32, 32), 12)
    cli("rerun", "vit.safetensors")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "prune --model lenet5 --pretrained -c magnitude",
            "no published weights of lenet5 are known; use another --model",
        ),
        ("train --model torchvision/resnet18 --pretrained", "training needs images: add --data"),
        (f"prune {SQUEEZENET}", "criterion snipit scores on images; add --data"),
        (f"prune {SQUEEZENET} --data digits", "are for images of 3 channels, got 1"),
        ("train net.safetensors --pretrained", "--pretrained is for a new network; name one with --model"),
        ("prune --model timm/hf-hub:a/b -c magnitude", "timm/hf-hub:a/b is a network with weights; pass --pretrained"),
        ("prune --model timm/local-dir:fm --pretrained -c magnitude", "timm/local-dir:fm has no config.json"),
        (
            "prune --model torchvision/resnet18 --pretrained -c magnitude",
            "cannot fetch https://download.pytorch.org/models/resnet18-f37072fd.pth into",
        ),
        ("prune --model timm/hf-hub:a/b --pretrained -c magnitude", "cannot fetch hf-hub:a/b: "),
        ("prune --model timm/test_vit2 --pretrained -c magnitude", "cannot fetch hf-hub:timm/test_vit2"),
    ],
)
def test_what_cannot_be_begun_is_one_line(line, said, refused, monkeypatch) -> None:
    def no_network(*args: object, **more: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert said in refused(*line.split())
