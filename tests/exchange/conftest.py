"""ONNX files of the trained LeNet-300-100, exported once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.running import run_cli

EXPORTS = {"net": (), "app": ("--pixels", "--softmax")}


@pytest.fixture(scope="session")
def exports(shelf: Path) -> Path:
    """The folder with net.onnx (normalised images in, logits out) and app.onnx (pixels in, probabilities out)."""
    for name, more in EXPORTS.items():
        ran = run_cli(shelf, "export", "net.safetensors", "-o", f"{name}.onnx", *more)
        assert ran.code == 0, ran.err
    return shelf


@pytest.fixture
def exported(exports: Path, net: Path) -> Callable[[str], Path]:
    """`exported("app")` puts app.onnx beside net.safetensors in the test's folder."""

    def copied(name: str) -> Path:
        return Path(shutil.copy(exports / f"{name}.onnx", net.parent))

    return copied
