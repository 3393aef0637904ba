"""bfloat16 where it is asked for: in evaluations, attacks and repairs, and what is said of processors."""

import copy
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.repair import RepairOptions
from prunectl.cli import precision
from prunectl.measuring.evaluate import evaluate
from prunectl.pruning.prune import prune
from prunectl.pruning.repair.repair import repair
from prunectl.robustness.attack import attack
from prunectl.robustness.corrupt import corrupt
from prunectl.torchtools import bfloat16
from prunectl.training.recipe import Recipe
from prunectl.training.train import train
from tests.helpers.networks import checkpoint_of, image_data, randomise_
from tests.helpers.node_networks import SHAPE, Chain
from tests.helpers.running import run_cli

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained() -> Checkpoint:
    torch.manual_seed(0)
    begun = replace(checkpoint_of(randomise_(Chain()), SHAPE), builder=Chain)
    return train(begun, image_data(120, SHAPE), Recipe(epochs=5, batch_size=16, lr=0.01))


def measures(checkpoint: Checkpoint, *, amp: bool) -> dict[str, dict[str, Any]]:
    data = image_data(120, SHAPE)
    return {
        "evaluate": evaluate(checkpoint, data, amp=amp, with_latency=False),
        "attack": attack(checkpoint, data, attack="fgsm", eps=[0.01], amp=amp),
        "corrupt": corrupt(checkpoint, data, corruptions=["brightness"], amp=amp),
    }


def test_records_say_the_precision(trained: Checkpoint) -> None:
    exact, rounded = (measures(trained, amp=amp) for amp in (False, True))
    assert {record["precision"] for record in exact.values()} == {"float32"}
    assert {record["precision"] for record in rounded.values()} == {"bfloat16"}
    assert rounded["evaluate"]["loss"] != exact["evaluate"]["loss"]
    assert rounded["evaluate"]["loss"] == pytest.approx(exact["evaluate"]["loss"], rel=0.02)
    assert rounded["evaluate"]["accuracy"] == pytest.approx(exact["evaluate"]["accuracy"], abs=0.05)
    assert rounded["attack"]["clean_accuracy"] == pytest.approx(rounded["evaluate"]["accuracy"], abs=0.02)
    robust = [record["attack"]["results"][0]["robust_accuracy"] for record in (exact, rounded)]
    assert robust[1] == pytest.approx(robust[0], abs=0.1)


def test_a_network_in_another_type_runs_in_its_own(trained: Checkpoint) -> None:
    double = replace(trained, model=copy.deepcopy(trained.model).double())
    record = evaluate(double, image_data(60, SHAPE), amp=True, with_latency=False)
    assert record["precision"] == "float64"
    assert record["loss"] == evaluate(double, image_data(60, SHAPE), with_latency=False)["loss"]


@pytest.mark.parametrize("method", ["refit", "scale", "bn"])
def test_a_repair_in_bfloat16_comes_as_close(trained: Checkpoint, method: str) -> None:
    data = image_data(120, SHAPE)
    pruned = prune(trained, None, criterion="magnitude", sparsity=0.6)
    losses = {}
    for amp in (False, True):
        repaired = repair(pruned, data, RepairOptions(method, amp=amp), reference=trained)
        assert repaired.history[-1].options.get("amp", False) == amp
        assert all(p.dtype == torch.float32 for p in repaired.model.parameters())
        losses[amp] = evaluate(repaired, data, with_latency=False)["loss"]
    before = evaluate(pruned, data, with_latency=False)["loss"]
    assert losses[True] != losses[False]
    assert abs(losses[True] - losses[False]) < 0.1 * abs(before - losses[False]) + 0.02


def test_the_processor_is_asked_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(bfloat16.platform, "machine", lambda: "x86_64")
    assert bfloat16.native_bfloat16(CPU)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert not bfloat16.native_bfloat16(CPU)
    monkeypatch.setattr(bfloat16.platform, "machine", lambda: "aarch64")
    asked = SimpleNamespace(mkldnn=SimpleNamespace(_is_mkldnn_bf16_supported=lambda: True))
    monkeypatch.setattr(bfloat16.torch, "ops", asked)
    assert bfloat16.native_bfloat16(CPU)


@pytest.mark.parametrize(
    ("native", "asked", "flops", "images", "said"),
    [
        (True, None, precision.LEAST_FLOPS, 50_000, "hint: this processor has bfloat16 instructions"),
        (True, None, precision.LEAST_FLOPS - 1, 10**9, ""),
        (True, None, 10**9, 1_000, "hint: this processor has bfloat16 instructions"),
        (True, None, 10**9, 999, ""),
        (True, True, 10**9, 10**9, ""),
        (True, False, 10**9, 10**9, ""),
        (False, None, 10**9, 10**9, ""),
        (False, True, 10**9, 1, "warning: this cpu has no instructions for bfloat16, so --amp makes it slower"),
        (False, False, 10**9, 10**9, ""),
    ],
)
def test_one_line_says_where_it_helps_and_where_not(
    native: bool, asked: bool | None, flops: int, images: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(bfloat16, "native_bfloat16", lambda device: native)
    precision.warn_of_amp(CPU, asked=asked)
    precision.hint_at_amp(CPU, asked=asked, flops=flops, images=images)
    found = capsys.readouterr().err
    assert found.startswith(said)
    assert found.count("\n") == bool(said)


def test_commands_take_amp_and_say_once_that_it_is_slow(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfloat16, "native_bfloat16", lambda device: False)
    small = "--model mlp5 -M hidden=8 --data synthetic --subset 60 --epochs 1 -o dense.safetensors --amp"
    lines = [
        f"train {small}",
        "prune dense.safetensors -c snip -s 0.5 --amp -o pruned.safetensors",
        "repair pruned.safetensors -n 20 --amp -o repaired.safetensors",
        "eval repaired.safetensors --no-latency --amp --json",
        "attack repaired.safetensors -a fgsm -n 20 --amp --json",
    ]
    for line in lines:
        ran = run_cli(tmp_path, *line.split())
        assert ran.code == 0, ran.err
        assert ran.err.count("no instructions for bfloat16") == 1, ran.err
    assert json.loads(ran.out)["precision"] == "bfloat16"
    log = run_cli(tmp_path, "log", "repaired.safetensors")
    assert log.out.count("--amp") + log.err.count("--amp") >= 3, log
