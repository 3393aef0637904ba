"""The command that `prunectl criteria NAME` ends with runs."""

import pytest

from prunectl.plugins.registry import names
from tests.helpers.marks import quick

SMALL = "--model resnet20 -M width=4 --image-size 8 --subset 64 --device cpu"
QUICK = ["n:m", "snap"]


@pytest.mark.parametrize("name", quick(names("criterion"), QUICK))
def test_the_example_of_a_criterion_runs(name: str, cli) -> None:
    shown = cli("criteria", name).partition("  example  ")[2]
    words = shown.split()
    assert words[0] == "prunectl" and words[words.index("-c") + 1] == name
    line = " ".join(words[1:]).replace("--model resnet18 --data cifar10", SMALL)
    if "NAME.safetensors" in line:
        cli("train", *SMALL.split(), "-b", 32, "--epochs", 1, "-o", "NAME.safetensors")
        line += " --device cpu"
    if words[1] == "train":
        line = line.replace("--epochs 30", "--epochs 12") + " -b 8"
    assert cli(*line.split(), "-o", "made.safetensors").endswith("made.safetensors\n")
