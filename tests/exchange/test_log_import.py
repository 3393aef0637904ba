"""What `log` and the page print for a network that another program made: a command that can be run, or a comment."""

import json
import shlex

import torch
from torch import nn

import prunectl
from prunectl.reporting.page.provenance import tree
from prunectl.reporting.sources import collect

OPTIONS = "--input 1x4x4 --classes 10 --mean 0.25 --std 0.5 --data digits --allow-missing 'other.*'"


def _weights(path) -> None:
    torch.manual_seed(0)
    torch.save({"1.weight": torch.randn(10, 16), "1.bias": torch.randn(10), "other.x": torch.ones(2)}, path)


def test_the_line_of_an_import_makes_the_same_checkpoint(tmp_path, cli) -> None:
    _weights(tmp_path / "own weights.pth")
    cli("import", "own weights.pth", "--model", "logistic-regression", *shlex.split(OPTIONS), "-o", "a.safetensors")
    line = json.loads(cli("log", "a.safetensors", "--json"))["steps"][0]["line"]
    assert line == (
        "prunectl import 'own weights.pth' --model=logistic-regression --input=1x4x4 --classes=10 --mean=0.25 "
        "--std=0.5 --data=digits '--allow-missing=other.*' --seed=0"
    )
    cli(*shlex.split(line)[1:], "-o", "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert "\n*  import 'own weights.pth' --model logistic-regression --input 1x4x4" in cli("log", "a.safetensors")


def test_the_page_has_the_same_command(tmp_path, cli) -> None:
    _weights(tmp_path / "net.pth")
    cli("import", "net.pth", "--model", "logistic-regression", *shlex.split(OPTIONS), "-o", "a.safetensors")
    cli("prune", "a.safetensors", "-c", "magnitude", "-s", "0.5", "-o", "b.safetensors")
    (step,) = tree(collect([tmp_path / "b.safetensors"]).given)
    first, second = step.children["prune magnitude"].members[0].commands.split(" | \\\n  ")
    assert first == (
        "prunectl import net.pth --model logistic-regression --input 1x4x4 --classes 10 --mean 0.25 --std 0.5 "
        "--data digits --allow-missing 'other.*' --seed 0"
    )
    assert second.startswith("prunectl prune --criterion magnitude --sparsity 0.5")


def test_what_python_made_is_a_comment(tmp_path, cli) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    thin = prunectl.prune(net, input=(1, 4, 4), criterion="magnitude", sparsity=0.5)
    prunectl.save(thin, tmp_path / "thin.safetensors")
    module, pruned = json.loads(cli("log", "thin.safetensors", "--json"))["steps"]
    assert module["line"].startswith("# module --class-name=torch.nn.modules.container.Sequential --sha256=")
    assert pruned["line"].startswith("prunectl prune ")
    state = {"1.weight": torch.ones(3, 16), "1.bias": torch.ones(3)}
    found = prunectl.from_state_dict(state, "logistic-regression", input=(1, 4, 4), classes=3, mean=(0.25,), std=(0.5,))
    prunectl.save(found, tmp_path / "state.safetensors")
    (step,) = json.loads(cli("log", "state.safetensors", "--json"))["steps"]
    assert step["line"].startswith("# import 'a state dict' --model=logistic-regression")
