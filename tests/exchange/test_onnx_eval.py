"""`eval NAME.onnx`: the accuracy of an exported file is that of its checkpoint, and what it cannot do is refused."""

import json
from pathlib import Path

import onnx
import pytest
import torch

from prunectl.exchange.onnx_file import read_onnx


@pytest.fixture
def exported(cli, net: Path) -> Path:
    """Of net.safetensors, with normalised images in and logits out."""
    cli("export", net, "-o", "net.onnx")
    return net.with_name("net.onnx")


@pytest.mark.parametrize("more", [[], ["--pixels", "--softmax"]], ids=["input", "pixels"])
def test_accuracy_and_loss_are_those_of_the_checkpoint(cli, net: Path, more: list[str]) -> None:
    path = cli("export", net, "-o", "net.onnx", *more)
    theirs = json.loads(cli("eval", "--json", "--no-latency", stdin=path))
    ours = json.loads(cli("eval", net, "--json", "--no-latency"))
    same = ("accuracy", "top5", "per_class", "confusion", "images", "data")
    assert {key: theirs[key] for key in same} == {key: ours[key] for key in same}
    assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-5)
    assert theirs["bytes"] == net.with_name("net.onnx").stat().st_size


def test_latency_is_that_of_onnx_runtime_and_nothing_is_written(raw, exported: Path) -> None:
    ran = raw("eval", exported, "--min-accuracy", "1")
    assert (ran.code, ran.out.strip()) == (3, str(exported))
    assert "latency of 1 image (cpu, one CPU thread): onnx" in ran.err
    assert "latency of 64 images (cpu, one CPU thread): onnx" in ran.err
    assert not exported.with_name("net.onnx.results.jsonl").exists()


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--runtime", "eager"], "--runtime eager is for checkpoints; an ONNX file runs in onnx"),
        (["--device", "cuda"], "--device cuda is for checkpoints; an ONNX file is measured on the cpu"),
        (["--amp"], "--amp is for checkpoints"),
        (["--data", "fashionmnist:nowhere"], "no fashionmnist in nowhere"),
    ],
)
def test_what_an_onnx_file_cannot_do_is_one_line(refused, exported: Path, more: list[str], line: str) -> None:
    assert line in refused("eval", exported, *more)


def test_a_file_that_names_no_dataset_or_code_is_refused(refused, exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != "data"}
    for name, found in (("none", kept), ("code", {**kept, "data": "own.py:images"})):
        onnx.helper.set_model_props(model, found)
        onnx.save(model, tmp_path / f"{name}.onnx")
    assert "none.onnx names no dataset; add --data" in refused("eval", "none.onnx")
    assert "the ONNX file names data 'own.py:images', whose code would run" in refused("eval", "code.onnx")


def test_the_logarithm_of_probabilities_is_finite(cli, net: Path, tmp_path: Path) -> None:
    cli("export", net, "-o", "net.onnx", "--pixels", "--softmax")
    file = read_onnx(tmp_path / "net.onnx")
    logits = file.logits(100 * torch.rand(3, *file.shape))
    assert logits.isfinite().all() and (logits <= 0).all()
