"""Inspect tells what a checkpoint holds, from headers and mask bits alone."""

import json

import pytest
import torch
from safetensors import safe_open

from prunectl.checkpoints.files import pending_sidecar
from prunectl.checkpoints.header import read_toc
from prunectl.checkpoints.inspect import inspect
from prunectl.errors import CheckpointError
from tests.helpers.running import run_without_torch


def test_the_record_of_a_small_checkpoint(tiny, cli):
    seen = json.loads(cli("inspect", tiny.name, "--json"))
    mean, std, (entry,) = seen.pop("mean"), seen.pop("std"), seen.pop("history")
    assert len(mean) == len(std) == 1 and 0 < mean[0] < 1 and 0 < std[0] < 1
    assert seen.pop("normalisation_known") is True
    assert seen.pop("names") == [str(digit) for digit in range(10)]
    assert seen.pop("resize") == {"size": 4, "crop": 1.0, "interpolation": "bilinear"}
    assert entry.pop("versions").keys() == {"prunectl", "torch", "cpu"}
    assert entry.pop("threads") == torch.get_num_threads()
    assert entry == {
        "command": "prune",
        "options": {
            "criterion": "magnitude",
            "sparsity": 0.5,
            "schedule": "one-shot",
            "steps": 5,
            "scope": "global",
            "options": {},
            "batch_size": 128,
            "balanced": True,
            "amp": False,
            "data": {"name": "digits"},
            "device": "cpu",
            "seed": 0,
        },
        "parent": None,
        "result": {"weight_sparsity": 0.5},
    }
    assert seen == {
        "path": "tiny.safetensors",
        "bytes": tiny.stat().st_size,
        "model": "logistic-regression",
        "options": {},
        "input": [1, 4, 4],
        "classes": 10,
        "data": "digits",
        "places": {},
        "changed": [],
        "masked": True,
        "weights": 80,
        "weight_sparsity": 0.5,
        "dense": {"parameters": 170, "weights": 160, "nodes": 0, "flops": 320},
        "edits": [],
        "tensors": [
            {"name": "classifier.0.bias", "dtype": "F32", "shape": [10], "kept": 10, "bytes": 40},
            {"name": "classifier.0.weight", "dtype": "F32", "shape": [10, 16], "kept": 80, "bytes": 640},
        ],
    }


def test_the_sparsity_of_every_layer_is_the_share_of_its_zeros(net, cli):
    seen = json.loads(cli("inspect", "net.prune.safetensors", "--json"))
    with safe_open(net.with_name("net.prune.safetensors"), "pt") as file:
        nonzero = {name: int(file.get_tensor(name).count_nonzero()) for name in file.keys()}  # noqa: SIM118
    weights = {t["name"]: t for t in seen["tensors"] if len(t["shape"]) == 2}
    assert {name: t["kept"] for name, t in weights.items()} == {name: nonzero[name] for name in weights}
    assert sum(t["kept"] for t in weights.values()) == seen["weights"] == 5_324
    assert seen["weight_sparsity"] == pytest.approx(0.98)


def test_a_shrunk_network_is_measured_by_its_dense_original(net, cli):
    before, after = (
        json.loads(cli("inspect", name, "--json")) for name in ("net.prune.safetensors", "net.prune.shrink.safetensors")
    )
    assert (
        after["dense"] == before["dense"] == {"parameters": 267_410, "weights": 266_200, "nodes": 400, "flops": 532_400}
    )
    assert after["bytes"] < before["bytes"]
    assert after["weights"] <= before["weights"]
    assert after["weight_sparsity"] == pytest.approx(1 - after["weights"] / 266_200)
    assert [entry["command"] for entry in after["history"]] == ["train", "prune", "shrink"]


def test_the_page_for_a_person(tiny, cli):
    first, second, *history, weight, others = cli("inspect", tiny.name).splitlines()
    assert first == "tiny.safetensors: logistic-regression, 1x4x4 images of 10 classes, data digits"
    assert second.endswith("B, masked, weight sparsity 0.500000 of 160 dense weights")
    assert history[0].startswith("  prune ")
    assert all(line.startswith("      ") for line in history[1:])
    assert max(map(len, history)) <= 80
    assert {"criterion=magnitude", "sparsity=0.5", "schedule=one-shot", "scope=global", "seed=0"} <= set(
        " ".join(history).split()
    )
    assert others == "  1 other tensor (biases, norms); -v lists them"
    *_, bias, same = cli("inspect", "-v", tiny.name).splitlines()
    assert (bias.split(), same) == (["classifier.0.bias", "F32", "10"], weight)
    assert weight.split() == ["classifier.0.weight", "F32", "10x16", "kept", "80", "sparsity", "0.5000"]


def test_a_dense_checkpoint_and_model_options(cli):
    cli("train", "--model", "mlp5", "-M", "hidden=3", "--epochs", 0, "--image-size", 2, "-o", "x.st")
    first, second, _, *rest = cli("inspect", "x.st").splitlines()
    assert first == "x.st: mlp5 hidden=3, 1x2x2 images of 10 classes, data digits"
    assert second.endswith("B, no mask, weight sparsity 0.000000 of 69 dense weights")  # 4*3 + 3 * 3*3 + 3*10
    assert [line.split()[-2:] for line in rest if "x" in line.split()[2]] == [["sparsity", "0.0000"]] * 5


def test_the_library_returns_the_same_record(tiny, cli):
    assert inspect(tiny) == {**json.loads(cli("inspect", tiny.name, "--json")), "path": str(tiny)}


def test_the_mask_file_that_a_kill_left_under_its_pending_name_is_read(tiny):
    seen = inspect(tiny)
    mask = tiny.with_name("tiny.mask.safetensors")
    pair = json.loads(read_toc(mask).metadata["prunectl"])["pair"]
    pending = mask.rename(pending_sidecar(mask, pair))
    assert inspect(tiny) == seen
    pending.unlink()
    with pytest.raises(CheckpointError, match=r"mask file .* is missing; copy both files together"):
        inspect(tiny)


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_it_needs_no_torch(arguments, tiny, cli, tmp_path):
    ran = run_without_torch(tmp_path, "inspect", "tiny.safetensors", *arguments)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == cli("inspect", "tiny.safetensors", *arguments)
