"""A fresh process in which prunectl cannot be imported, as the machine of someone who has only the exported files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

IMAGES = """
import importlib.abc, json, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "prunectl":
            raise ImportError("prunectl is not installed here")
sys.meta_path.insert(0, Blocked())
import torch
def images(shape, count=3):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))
"""
RUN = """
import importlib, pathlib, runpy
def outputs(path, shape):
    path = pathlib.Path(path)
    if path.is_dir():
        alone = [path / name for name in ("model.py", "model.pt2") if (path / name).exists()]
        assert len(alone) == 1, alone
        return outputs(alone[0], shape)
    if path.suffix == ".onnx":
        import onnxruntime
        session = onnxruntime.InferenceSession(str(path))
        (found,) = session.run(None, {session.get_inputs()[0].name: images(shape).numpy()})
        return found
    if path.suffix == ".pt2":
        return torch.export.load(path).module()(images(shape))
    return runpy.run_path(str(path))["load"]()(images(shape))
for path, shape in json.loads(sys.argv[1]):
    with torch.no_grad():
        print(json.dumps(outputs(path, shape).tolist()))
"""


def images(shape: tuple[int, int, int], count: int = 3) -> torch.Tensor:
    """The images that the fresh process takes."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


def outputs_alone(files: list[tuple[Path, tuple[int, int, int]]]) -> list[torch.Tensor]:
    """What exported files, each with the shape of an image, return for `images` in one process without prunectl."""
    told = json.dumps([(str(path), shape) for path, shape in files])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMAGES + RUN, told],
        capture_output=True,
        text=True,
        check=False,
        cwd=files[0][0].parent,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    return [torch.tensor(json.loads(line)) for line in done.stdout.splitlines() if line.startswith("[[")]


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the largest output."""
    return float((found - expected).abs().max() / expected.abs().max())
