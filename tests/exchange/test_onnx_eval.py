"""`eval NAME.onnx`: the accuracy of an exported file is that of its checkpoint, and what it cannot do is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch

from prunectl.exchange.onnx_file import read_onnx

Exported = Callable[[str], Path]


@pytest.mark.parametrize("name", ["net", "app"])
def test_accuracy_and_loss_are_those_of_the_checkpoint(cli, net: Path, exported: Exported, name: str) -> None:
    path = exported(name)
    theirs = json.loads(cli("eval", "--json", "--no-latency", stdin=f"{path}\n"))
    ours = json.loads(cli("eval", net, "--json", "--no-latency"))
    same = ("accuracy", "top5", "per_class", "confusion", "images", "data")
    assert {key: theirs[key] for key in same} == {key: ours[key] for key in same}
    assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-5)
    assert theirs["bytes"] == path.stat().st_size


@pytest.mark.long
def test_the_same_checkpoint_has_the_same_bytes_and_latency_in_onnx_runtime(raw, cli, net: Path, exports: Path) -> None:
    path = cli("export", net, "-o", "net.onnx")
    assert net.with_name("net.onnx").read_bytes() == (exports / "net.onnx").read_bytes()
    ran = raw("eval", "--min-accuracy", "1", stdin=path)
    assert (ran.code, ran.out) == (3, path)
    assert "latency of 1 image (cpu, 1 CPU thread): onnx" in ran.err
    assert "latency of 64 images (cpu, 1 CPU thread): onnx" in ran.err
    assert not net.with_name("net.onnx.results.jsonl").exists()


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--runtime", "eager"], "--runtime eager is for checkpoints; an ONNX file runs in onnx"),
        (["--device", "cuda"], "--device cuda is for checkpoints; an ONNX file is measured on the cpu"),
        (["--amp"], "--amp is for checkpoints"),
        (["--data", "fashionmnist:nowhere"], "no fashionmnist in nowhere"),
    ],
)
def test_what_an_onnx_file_cannot_do_is_one_line(refused, exported: Exported, more: list[str], line: str) -> None:
    assert line in refused("eval", exported("net"), *more)


def test_a_file_that_names_no_dataset_or_code_is_refused(refused, exported: Exported, tmp_path: Path) -> None:
    model = onnx.load(exported("net"))
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != "data"}
    for name, found in (("none", kept), ("code", {**kept, "data": "own.py:images"})):
        onnx.helper.set_model_props(model, found)
        onnx.save(model, tmp_path / f"{name}.onnx")
    assert "none.onnx names no dataset; add --data" in refused("eval", "none.onnx")
    assert "the ONNX file names data 'own.py:images', whose code would run" in refused("eval", "code.onnx")


def test_the_logarithm_of_probabilities_is_finite(exported: Exported) -> None:
    file = read_onnx(exported("app"))
    logits = file.logits(100 * torch.rand(3, *file.shape))
    assert logits.isfinite().all() and (logits <= 0).all()
