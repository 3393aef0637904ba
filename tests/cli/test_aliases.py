"""Other spellings of options do what the options do: on the command line, in files and in the environment."""

import json

import pytest

from prunectl.cli import in_process

PAIRS = {
    "train --learning-rate 0.5": "train --lr 0.5",
    "train --weight-decay=0.5": "train --wd=0.5",
    "train --optimizer sgd": "train --opt sgd",
    "train --arch mlp5": "train --model mlp5",
    "train --dataset digits": "train --data digits",
    "train --amount 0.5": "train --sparsity 0.5",
    "prune --amount 0.5": "prune -s 0.5",
    "prune --arch mlp5 --dataset digits": "prune --model mlp5 --data digits",
    "eval --dataset digits": "eval --data digits",
    "train --rounds 3": "train --steps 3",
}


@pytest.mark.parametrize(("line", "plain"), PAIRS.items())
def test_another_spelling(line, plain):
    assert in_process.read(line.split()) == in_process.read(plain.split())


def options(cli, path: str) -> dict:
    """The options that the history of a checkpoint has for its last command."""
    return json.loads(cli("inspect", path, "--json"))["history"][-1]["options"]


def test_other_spellings_in_a_file_the_environment_and_the_history(net, cli, monkeypatch, tmp_path):
    (tmp_path / "x.toml").write_text('[train]\nlearning-rate = 0.5\nwd = 0.25\noptimizer = "sgd"\nepochs = 0\n')
    monkeypatch.setenv("PRUNECTL_WEIGHT_DECAY", "0.125")
    cli("train", net.name, "--config", "x.toml", "--learning-rate", "0.75")
    found = options(cli, "net.train.safetensors")
    assert [found[key] for key in ("lr", "wd", "opt", "epochs")] == [0.75, 0.125, "sgd", 0]
    assert not {"learning_rate", "weight_decay", "optimizer"} & {*found}
    line = json.loads(cli("log", "net.train.safetensors", "--json"))["steps"][-1]["line"]
    assert "--lr=0.75" in line and "--wd=0.125" in line and "--opt=sgd" in line


def test_a_message_names_the_option_by_its_first_spelling(net, refused):
    assert "--resume goes on as the training began; leave out --lr" in refused(
        "train", "--resume", "x.resume.safetensors", "--learning-rate", 1
    )
    assert "--steps says how to prune during training" in refused("train", net.name, "--rounds", 3)


@pytest.mark.parametrize("name", ["steps", "rounds"])
def test_every_spelling_is_read_from_the_environment(name, net, cli, monkeypatch):
    monkeypatch.setenv(f"PRUNECTL_{name.upper()}", "3")
    cli("prune", net.name, "-c", "random", "-s", "0.5", "-o", "new.safetensors")
    assert options(cli, "new.safetensors")["steps"] == 3
