"""Published weights: fetched into the cache of their library, and one line where that fails."""

from pathlib import Path
from urllib.error import URLError

import huggingface_hub
import pytest
import timm
import torch
from timm.models import save_for_hf
from torchvision import models

import prunectl
from prunectl.checkpoints.checkpoint import read
from tests.helpers.marks import one_in


@pytest.fixture
def published(tmp_path, monkeypatch):
    """What the servers would send: state dicts by the end of their address, folders by their repository."""
    sent: dict[str, object] = {}
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    def download(url: str, target: str, hash_prefix: str | None, *, progress: bool) -> None:
        if Path(url).name not in sent:
            raise URLError("Temporary failure in name resolution")
        torch.save(sent[Path(url).name], target)

    def snapshot(name: str, allow_patterns: list[str]) -> str:
        if name not in sent:
            raise huggingface_hub.errors.LocalEntryNotFoundError("Cannot find the requested files\nin the cache")
        return str(sent[name])

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    return sent


@pytest.mark.long
def test_weights_of_torchvision_are_fetched_once(published, tmp_path, cli) -> None:
    net = models.squeezenet1_1().eval()
    weights = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    published[Path(weights.url).name] = net.state_dict()
    out = cli("import", "--pretrained", "--model", "torchvision/squeezenet1_1")
    assert out == "squeezenet1_1.import.safetensors\n"
    published.clear()
    cli("import", "--pretrained", "--model", "torchvision/squeezenet1_1", "-o", "again.safetensors")
    found = read(tmp_path / "again.safetensors")
    assert found.history[0].options["file"] == Path(weights.url).name
    assert (found.spec.classes, found.names[0]) == (1000, "tench")
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(prunectl.load(tmp_path / "again.safetensors")(x), net(x))


@pytest.mark.long
def test_weights_of_torchvision_by_name(published, tmp_path, cli) -> None:
    weights = models.MobileNet_V2_Weights.IMAGENET1K_V1
    published[Path(weights.url).name] = models.mobilenet_v2().state_dict()
    cli(
        "import",
        "--pretrained",
        "--model",
        "torchvision/mobilenet_v2",
        "--weights",
        "IMAGENET1K_V1",
        "-o",
        "a.safetensors",
    )
    assert read(tmp_path / "a.safetensors").resize.crop == 0.875
    assert read(tmp_path / "a.safetensors").history[0].options["weights"] == "IMAGENET1K_V1"


@pytest.mark.parametrize(
    "source",
    one_in(
        3,
        [
            ("--pretrained", "--model", "timm/resnet10t.c3_in1k"),
            ("hf-hub:timm/resnet10t.c3_in1k",),
            ("local-dir:theirs",),
        ],
    ),
)
def test_networks_of_timm_by_tag_repository_and_folder(source, published, tmp_path, cli) -> None:
    torch.manual_seed(0)
    net = timm.create_model("resnet10t.c3_in1k", num_classes=1000).eval()
    save_for_hf(net, tmp_path / "theirs", safe_serialization=True)
    published["timm/resnet10t.c3_in1k"] = tmp_path / "theirs"
    cli("import", *source, "-o", "net.safetensors")
    found = read(tmp_path / "net.safetensors")
    assert found.spec.input == (3, *net.pretrained_cfg["input_size"][1:])
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(prunectl.load(tmp_path / "net.safetensors")(x), net(x))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "--model torchvision/resnet18",
            "cannot fetch https://download.pytorch.org/models/resnet18-f37072fd.pth into",
        ),
        ("--model torchvision/resnet18", "Temporary failure in name resolution"),
        (
            "--model timm/resnet10t.c3_in1k",
            "cannot fetch hf-hub:timm/resnet10t.c3_in1k: Cannot find the requested",
        ),
        ("--model torchvision/resnet18 --weights V7", "torchvision/resnet18 has no weights V7; known: IMAGENET1K_V1"),
        ("--model torchvision/resnet81", "no model named 'torchvision/resnet81'; did you mean"),
        ("--model timm/resnet18 --weights V1", "--weights is for torchvision networks"),
        ("--model transformers/vit", "no published weights of transformers/vit are known"),
        ("--model lenet5", "--pretrained is for --model torchvision/NAME or timm/NAME, without FILE"),
        ("net.pt --model torchvision/resnet18", "--pretrained is for --model torchvision/NAME or timm/NAME"),
        ("", "--pretrained is for --model torchvision/NAME or timm/NAME"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(words, line, published, refused, tmp_path) -> None:
    (tmp_path / "cache" / "hub" / "checkpoints").mkdir(parents=True)
    assert line in refused("import", "--pretrained", *words.split())


def test_a_name_of_the_hub_that_is_not_there_is_one_line(published, refused) -> None:
    assert "cannot fetch hf-hub:someone/net: Cannot find the requested files;" in refused(
        "import", "hf-hub:someone/net"
    )


def test_nothing_to_import_is_one_line(refused) -> None:
    assert "no FILE: expected weights, a folder, hf-hub:OWNER/NAME, or --pretrained" in refused("import")
    assert "FILE does not name its network" in refused("import", "net.pt")
