"""Weights of torchvision under the name of a network of prunectl's own, and what an import takes from a library."""

import json

import pytest
import torch
from torchvision import models

from prunectl.exchange.usage import configuration_of, is_assumed

ASSUMED = "warning: the file does not state its normalisation, so the library's "
MEAN, STD = "mean 0.485,0.456,0.406", "std 0.229,0.224,0.225"
OTHER = "is assumed; if the network was trained with another, add"
LEFT = {"--input": "3x64x64", "--classes": "5", "--mean": "0.5", "--std": "0.25"}


def _words(*flags: str) -> list[str]:
    return [word for flag in flags for word in (flag, LEFT[flag])]


@pytest.mark.long
def test_the_network_of_torchvision_that_the_names_fit_is_suggested(tmp_path, refused) -> None:
    torch.save(models.resnet18(num_classes=5).state_dict(), tmp_path / "weights.pth")
    hint = "; the names fit torchvision/resnet18: try --model torchvision/resnet18"
    found = refused("import", "weights.pth", "--model", "resnet18", *_words("--input", "--classes"))
    assert f"the file does not state the mean, std of resnet18; pass --mean R,G,B --std R,G,B{hint}\n" in found
    found = refused("import", "weights.pth", "--model", "resnet18", *_words(*LEFT))
    assert "no tensor of weights.pth fits the network" in found
    assert found.endswith(f"{hint}\n")


def test_what_is_taken_from_the_library_is_named(tmp_path, raw) -> None:
    torch.save(models.squeezenet1_1(num_classes=5).state_dict(), tmp_path / "net.pth")
    ran = raw("import", "net.pth", "--model", "torchvision/squeezenet1_1", *_words("--classes", "--std"))
    assert (
        "        from torchvision's weights of squeezenet1_1: input 3x224x224, mean 0.485,0.456,0.406, "
        "resize 256 px, bilinear, crop 224 px\n" in ran.err
    )
    assert f"{ASSUMED}{MEAN} {OTHER} --mean R,G,B\n" in ran.err
    assert json.dumps(ran.out) == '"net.import.safetensors\\n"'


@pytest.mark.long
@pytest.mark.parametrize(
    ("stated", "said"),
    [
        (["--classes"], f"{MEAN} and {STD} {OTHER} --mean R,G,B --std R,G,B\n"),
        (["--classes", "--mean"], f"{STD} {OTHER} --std R,G,B\n"),
        (["--classes", "--mean", "--std"], None),
    ],
)
def test_a_normalisation_that_is_assumed_is_said_with_how_to_change_it(stated, said, tmp_path, raw) -> None:
    torch.save(models.squeezenet1_1(num_classes=5).state_dict(), tmp_path / "net.pth")
    printed = raw("import", "net.pth", "--model", "torchvision/squeezenet1_1", *_words(*stated)).err
    assert (ASSUMED in printed, printed.count(ASSUMED + str(said))) == (said is not None, int(said is not None))
    assert is_assumed(configuration_of("timm/resnet10t", None, "0" * 64)[1])


def test_that_of_published_weights_is_known() -> None:
    assert is_assumed(configuration_of("torchvision/squeezenet1_1", None, "0" * 64)[1])
    assert not is_assumed(configuration_of("torchvision/squeezenet1_1", "IMAGENET1K_V1", "0" * 64)[1])
    assert not is_assumed("its config.json")
