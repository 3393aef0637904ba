"""prunectl repair, and prune --repair."""

import json
import shutil

import pytest

from prunectl.checkpoints.checkpoint import read
from prunectl.checkpoints.files import sha256
from prunectl.cli.optional_value import completed
from prunectl.cli.progress import Bar
from tests.helpers.running import run_line, run_without_torch

FEW = "-n 60"


def last(cli, name: str) -> dict:
    return json.loads(cli("inspect", name, "--json"))["history"][-1]


def test_a_stage_of_a_pipe(net, tmp_path, cli):
    line = (
        "prunectl prune net.safetensors -c magnitude -s 0.9 -o thin.safetensors"
        f" | prunectl repair {FEW} | prunectl shrink | prunectl eval --no-latency"
    )
    ran = run_line(tmp_path, line)
    assert (ran.code, ran.out) == (0, "thin.repair.shrink.safetensors\n"), ran.err
    entry = last(cli, "thin.repair.safetensors")
    assert entry["command"] == "repair"
    assert entry["options"] == {
        **{"method": "refit", "n": 60, "calibration": "data", "seed": 0},
        **{"data": {"name": "digits"}, "device": "cpu"},
    }
    layers = [layer["layer"] for layer in entry["result"]["layers"]]
    assert layers == ["features.1.weight", "features.4.weight", "classifier.0.weight"]
    masks = [read(tmp_path / name).masks for name in ("thin.safetensors", "thin.repair.safetensors")]
    assert all((masks[0][name] == masks[1][name]).all() for name in masks[0])


def test_the_errors_of_layers_are_shown(net, tmp_path, raw, cli):
    ran = raw("repair", "net.prune.safetensors", "-n", "60", "--method", "scale")
    assert ran.code == 0, ran.err
    assert "repair: 3 layers, mean squared error of their outputs, in units of their variance, " in ran.err
    assert "peak memory " in ran.err
    shown = cli("inspect", "net.prune.repair.safetensors")
    assert shown.count(": error 0.") + shown.count(": error 1.") == 3
    assert "repair: 3 layers, mean squared error" in cli("log", "net.prune.repair.safetensors")
    small = raw("repair", "net.prune.shrink.safetensors", "-n", "60", "--method", "bn")
    assert "repair: only BatchNorm statistics" in small.err


def test_what_follows_a_flag_with_an_optional_value():
    values = ("refit", "scale")
    assert completed(["--repair"], "--repair", values) == ["--repair", "refit"]
    assert completed(["--repair", "scale", "x.st"], "--repair", values) == ["--repair", "scale", "x.st"]
    assert completed(["--repair", "x.st"], "--repair", values) == ["--repair", "refit", "x.st"]
    assert completed(["x.st", "--repair=scale"], "--repair", values) == ["x.st", "--repair=scale"]


@pytest.mark.parametrize(("flag", "method"), [("--repair", "refit"), ("--repair=bn", "bn")])
def test_prune_and_repair_is_one_command(flag, method, net, cli):
    assert cli("prune", "-c", "magnitude", "-s", "0.9", flag, "net.safetensors", "--force") == "net.prune.safetensors\n"
    entry = last(cli, "net.prune.safetensors")
    assert (entry["command"], entry["options"]["repair"]) == ("prune", method)
    assert bool(entry["result"]["layers"]) == (method == "refit")
    assert f"--repair {method}" in cli("log", "net.prune.safetensors")


def test_the_reference_is_found_by_its_hash_or_given(net, tmp_path, cli, refused, monkeypatch):
    away = tmp_path / "away"
    away.mkdir()
    shutil.move(tmp_path / "net.safetensors", away / "dense.safetensors")
    line = refused("repair", "net.prune.safetensors", "-n", "60")
    assert "the checkpoint that net.prune.safetensors was pruned from (sha256 " in line
    assert line.endswith("is neither beside it nor in the current folder; pass it as --reference\n")
    given = ("repair", "net.prune.safetensors", "-n", "60", "--reference", "away/dense.safetensors")
    cli(*given, "-o", "one.safetensors")
    assert "reference" not in last(cli, "one.safetensors")["options"]
    shutil.move(away / "dense.safetensors", tmp_path / "renamed.safetensors")
    cli("repair", "net.prune.safetensors", "-n", "60", "-o", "two.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


@pytest.mark.long
def test_another_reference_is_in_the_history_and_found_beside_it(net, tmp_path, cli, raw, refused):
    cli("train", "net.safetensors", "--epochs", "1", "--subset", "100", "-o", "other.safetensors")
    cli("repair", "net.prune.safetensors", "-n", "60", "--reference", "other.safetensors")
    assert last(cli, "net.prune.repair.safetensors")["options"]["reference"] == sha256(tmp_path / "other.safetensors")
    assert "--reference other.safetensors" in cli("log", "net.prune.repair.safetensors")
    again = raw("rerun", "net.prune.repair.safetensors")
    assert again.code == 0, again.err
    (tmp_path / "other.safetensors").unlink()
    assert "cannot be run again: it needs the checkpoint with sha256" in refused(
        "rerun", "net.prune.repair.safetensors"
    )


def test_what_cannot_be_repaired_is_one_line(net, tiny, tmp_path, refused, cli):
    assert "net.safetensors was not pruned by `prunectl prune`; use the dense network as --reference" in refused(
        "repair", "net.safetensors"
    )
    assert "tiny.safetensors was pruned from a network that was never saved" in refused("repair", "tiny.safetensors")
    assert "network for" not in refused("repair", "net.prune.safetensors", "--reference", "gone.safetensors")
    assert (
        "the reference is logistic-regression for 1x4x4 images of 10 classes, but the pruned network is lenet300"
        in refused("repair", "net.prune.safetensors", "--reference", "tiny.safetensors")
    )
    assert "--calibration noise uses no images; leave out --data" in refused(
        "repair", "net.prune.safetensors", "--calibration", "noise", "--data", "digits"
    )
    assert "no repair named 'refti'; did you mean 'refit'?" in refused(
        "repair", "--method", "refti", "net.prune.safetensors"
    )
    assert "no repair named 'obs'" in refused("prune", "net.safetensors", "--repair=obs", "-o", "x.safetensors")


def test_a_wrong_method_is_told_without_torch(net, tmp_path):
    ran = run_without_torch(tmp_path, "repair", "net.prune.safetensors", "--method", "obs")
    assert ran.code == 1
    assert ran.err.startswith("prunectl: no repair named 'obs'")


def test_the_progress_counts_steps_as_batchnorms_are_among_them(cli, raw, monkeypatch):
    network = ["--model", "resnet20", "-M", "width=4", "--image-size", "8"]
    cli("train", *network, "--epochs", 0, "-o", "net.safetensors")
    cli(*["prune", "net.safetensors", "-c", "magnitude", "-s", "0.5", "-o", "cut.safetensors"])
    shown = []
    monkeypatch.setattr(Bar, "update", lambda self, done, fields: shown.append(fields()))
    ran = raw(*["repair", "cut.safetensors", "-n", "40"])
    assert ran.code == 0, ran.err
    assert [line.partition(",")[0] for line in shown] == [f"step {i + 1} of {len(shown)}" for i in range(len(shown))]
    fitted = int(ran.err.partition("repair: ")[2].split()[0])
    assert len(shown) == fitted + 19  # ResNet20 has a BatchNorm after each of its 19 convolutions
