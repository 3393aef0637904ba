"""`eval NAME.onnx --against OTHER.onnx`: accuracy where there are images, latency in turns, and what is refused."""

import json
from pathlib import Path

import onnx
import pytest

from prunectl.exchange.onnx_file import read_onnx
from prunectl.exchange.onnx_measure import evaluate_onnx


def with_metadata(source: Path, target: Path, *, without: str | None) -> None:
    """A copy without one entry of the metadata, or without any."""
    model = onnx.load(source)
    kept = {entry.key: entry.value for entry in model.metadata_props if without not in (entry.key, None)}
    onnx.helper.set_model_props(model, kept)
    onnx.save(model, target)


@pytest.fixture
def files(exports: Path, net: Path) -> Path:
    """A checkpoint, its ONNX file, one that names no dataset, and one of another program."""
    (net.parent / "net.onnx").write_bytes((exports / "net.onnx").read_bytes())
    with_metadata(exports / "net.onnx", net.parent / "blind.onnx", without="data")
    with_metadata(exports / "net.onnx", net.parent / "foreign.onnx", without=None)
    return net.parent


def test_without_images_only_latencies_are_measured(files: Path, raw, quick_timing: None) -> None:
    one = read_onnx(files / "net.onnx")
    found = evaluate_onnx(one, None, against=one)
    assert set(found) == {"bytes", "device", "latency", "against"} and set(found["against"]) == {"bytes", "latency"}
    ran = raw("eval", "blind.onnx", "--against", "net.onnx")
    assert ran.code == 0, ran.err
    assert "eval: the file names no dataset, so no accuracy is measured (add --data)\n" in ran.err
    assert [line[:15].strip() for line in ran.err.splitlines()[-2:]] == ["1 image, onnx", "64 images, onnx"]


def test_with_images_accuracies_are_compared(files: Path, raw) -> None:
    ran = raw("eval", "net.onnx", "--against", "blind.onnx", "--no-latency", "--json")
    record = json.loads(ran.out)
    assert record["against"] == {
        "bytes": (files / "blind.onnx").stat().st_size,
        "accuracy": record["accuracy"],
        "accuracy_difference": 0,
    }
    percent = f"{100 * record['accuracy']:.2f}%"
    assert ran.err.splitlines()[-1].split() == ["accuracy", percent, percent, "+0.00", "points"]
    assert "against blind.onnx, on the same images:\n" in ran.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("net.safetensors --against net.onnx", "compares two checkpoints or two ONNX files, got net.safetensors and n"),
        ("net.safetensors --against none.safetensors", "no such file: none.safetensors; --against takes a checkpoint"),
        ("net.onnx --against foreign.onnx", "foreign.onnx does not say how images become its input"),
        ("blind.onnx --against net.onnx --min-accuracy 0.5", "blind.onnx names no dataset; add --data"),
    ],
)
def test_what_cannot_be_compared_is_one_line(line: str, message: str, files: Path, refused) -> None:
    assert message in refused("eval", *line.split())
