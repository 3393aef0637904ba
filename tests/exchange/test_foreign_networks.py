"""Networks that other programs trained, from their file to a deployed one: nothing of what they compute is lost."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

import prunectl
from prunectl.checkpoints.checkpoint import read
from tests.helpers.alone import images as drawn
from tests.helpers.alone import relative
from tests.helpers.foreign import BUILDER, CLASSES, MEAN, STD, Net, accuracy, images, normalised, own_logits, trained

SIZE = 32
USE = ("--input", f"3x{SIZE}x{SIZE}", "--classes", str(CLASSES))
NORMALISED = ("--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)))


def _torchvision(file: Path, train: Callable[[nn.Module], nn.Module]) -> nn.Module:
    from torchvision.models import squeezenet1_1

    network = train(squeezenet1_1(num_classes=CLASSES))
    torch.save(network.state_dict(), file)
    return network


def _timm(file: Path, train: Callable[[nn.Module], nn.Module]) -> nn.Module:
    import timm

    network = train(timm.create_model("test_efficientnet", num_classes=CLASSES))
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"epoch": 1, "model": state, "optimizer": {"state": {}}}, file)
    return network


def _transformers(folder: Path, train: Callable[[nn.Module], nn.Module]) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = ViTConfig(**size, patch_size=8, image_size=SIZE, id2label=dict(enumerate("abcd")))
    network = train(ViTForImageClassification(config))
    network.save_pretrained(folder)
    ViTImageProcessor(size={"height": SIZE, "width": SIZE}, image_mean=MEAN, image_std=STD).save_pretrained(folder)
    return network


def _own(file: Path, train: Callable[[nn.Module], nn.Module]) -> nn.Module:
    network = train(Net())
    save_file(network.state_dict(), file)
    return network


def _masked(file: Path, train: Callable[[nn.Module], nn.Module]) -> nn.Module:
    network = Net()
    layers = [(layer, "weight") for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    prune.global_unstructured(layers, prune.L1Unstructured, amount=0.5)
    train(network)
    torch.save(network.state_dict(), file)
    return network


@dataclass(frozen=True)
class Foreign:
    """How a program trains and saves its network, and what the command line must say of it."""

    save: Callable[[Path, Callable[[nn.Module], nn.Module]], nn.Module]
    file: str
    words: tuple[str, ...]
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    sparsity: float = 0.0


IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
NETWORKS = {
    "torchvision": Foreign(_torchvision, "net.pth", ("--model", "torchvision/squeezenet1_1", *USE), **IMAGENET),
    "timm": Foreign(_timm, "net.tar", ("--model", "timm/test_efficientnet", *USE), **IMAGENET),
    "transformers": Foreign(_transformers, "theirs", ()),
    "own": Foreign(_own, "net.st", ("--model", BUILDER, *USE, *NORMALISED)),
    "masked": Foreign(_masked, "net.pt", ("--model", BUILDER, *USE, *NORMALISED), sparsity=0.5),
}


def _onnx(path: Path, pixels: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(str(path))
    (found,) = session.run(None, {session.get_inputs()[0].name: pixels.numpy()})
    return torch.from_numpy(found)


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["own", *(pytest.param(name, marks=pytest.mark.long) for name in NETWORKS if name != "own")]
)
def test_a_trained_network_goes_from_its_file_to_onnx(name, tmp_path, cli, monkeypatch) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    theirs, data = NETWORKS[name], images(tmp_path, size=SIZE, count=4)
    torch.manual_seed(0)
    network = theirs.save(tmp_path / theirs.file, lambda net: trained(net, data, steps=4))
    logits = own_logits(network, data, theirs.mean, theirs.std)

    cli("import", theirs.file, *theirs.words, "--data", "imagefolder:images", "-o", "net.safetensors")
    found = read(tmp_path / "net.safetensors")
    assert found.names == tuple("abcd")
    assert found.history[0].result["weight_sparsity"] == pytest.approx(theirs.sparsity, abs=1e-3)
    ours = prunectl.load(tmp_path / "net.safetensors")
    assert torch.equal(ours(normalised(data.test.pixels, theirs.mean, theirs.std)), logits)
    record = json.loads(cli("eval", "net.safetensors", "--no-latency", "--json"))
    assert record["accuracy"] == pytest.approx(accuracy(logits, data.test.labels), abs=1e-6)

    cli("prune", "net.safetensors", "-c", "taylor", "-s", "0.3", "-O", "batches=1", "-o", "thin.safetensors")
    cli("shrink", "thin.safetensors", "-o", "small.safetensors")
    cli("train", "small.safetensors", "--epochs", "1", "--lr", "1e-4", "-o", "tuned.safetensors")
    cli("export", "tuned.safetensors", "-o", "tuned.onnx")
    small, pixels = prunectl.load(tmp_path / "tuned.safetensors"), drawn((3, SIZE, SIZE))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in ours.parameters())
    assert relative(_onnx(tmp_path / "tuned.onnx", pixels), small(pixels).detach()) < 1e-4
    tuned = read(tmp_path / "tuned.safetensors")
    assert tuned.names == tuple("abcd")
    assert [entry.command for entry in tuned.history] == ["import", "prune", "shrink", "train"]


def test_classes_in_another_order_than_the_folders_of_the_images(tmp_path, cli, monkeypatch) -> None:
    """A program may number them as it likes; its accuracy is that of the names, by command and function."""
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    data = images(tmp_path)
    network = trained(Net(), data)
    torch.save(network.state_dict(), tmp_path / "net.pt")
    use = ("--input", "3x16x16", *NORMALISED, "--class-names", "d,b,c,a", "--data", "imagefolder:images")
    cli("import", "net.pt", "--model", BUILDER, *use, "-o", "net.safetensors")
    logits = own_logits(network, data)
    numbers = torch.tensor(["dbca".index(name) for name in data.classes])[data.test.labels]
    expected = float(nn.functional.cross_entropy(logits, numbers))
    assert expected != pytest.approx(float(nn.functional.cross_entropy(logits, data.test.labels)), abs=1e-5)
    record = json.loads(cli("eval", "net.safetensors", "--no-latency", "--json"))
    assert record["loss"] == pytest.approx(expected, abs=1e-6)
    assert list(record["per_class"]) == list("dbca")
    assert prunectl.evaluate(tmp_path / "net.safetensors", data)["loss"] == pytest.approx(expected, abs=1e-6)
