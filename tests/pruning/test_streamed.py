"""Pruning by the size of weights leaves them in their file and takes little memory."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prunectl.checkpoints.checkpoint import read, write
from prunectl.checkpoints.header import read_header
from prunectl.checkpoints.options.pruning import StandalonePruning
from prunectl.data.images import Preprocessing
from prunectl.models.fresh import untrained
from prunectl.pruning.options import streams
from prunectl.pruning.prune import pruned

ONCE = StandalonePruning(criterion="magnitude", sparsity=0.8)


@pytest.mark.parametrize("criterion", ["magnitude", "lamp"])
@pytest.mark.parametrize("before", [None, 0.5], ids=["dense", "masked"])
def test_a_streamed_pruning_leaves_the_network_and_writes_the_same_file(
    criterion: str, before: float | None, tmp_path: Path
) -> None:
    begun = untrained("lenet5", (1, 28, 28), 10, Preprocessing((0.5,), (0.25,)))
    begun = begun if before is None else pruned(begun, None, replace(ONCE, sparsity=before))
    write(begun, tmp_path / "begun.safetensors")
    options = replace(ONCE, criterion=criterion)
    assert streams(options)
    whole, mapped = read(tmp_path / "begun.safetensors"), read(tmp_path / "begun.safetensors", mapped=True)
    values = {name: tensor.clone() for name, tensor in mapped.model.state_dict().items()}
    write(pruned(whole, None, options), tmp_path / "whole.safetensors")
    streamed = pruned(mapped, None, options, reuse=True)
    assert streamed.model is mapped.model
    assert all(torch.equal(tensor, values[name]) for name, tensor in streamed.model.state_dict().items())
    write(streamed, tmp_path / "streamed.safetensors")
    for end in (".safetensors", ".mask.safetensors"):
        assert (tmp_path / f"streamed{end}").read_bytes() == (tmp_path / f"whole{end}").read_bytes()
    write(streamed, tmp_path / "begun.safetensors")  # over the file that the weights lie in
    assert (tmp_path / "begun.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"criterion": "synflow"},
        {"criterion": "auto"},
        {"criterion": "gmp"},
        {"schedule": "exponential", "steps": 3},
        {"unit": "nodes"},
        {"controls": ("reinit",)},
        {"repair": "bn"},
        {"criterion": "n:m", "sparsity": None, "scope": "2:4", "options": {"permute": "yes"}},
    ],
    ids=",".join,
)
def test_what_runs_or_changes_the_network_does_not_stream(changes: dict[str, object]) -> None:
    assert not streams(replace(ONCE, **changes))


# the limit is on all memory that the process may write to: its heap, its thread's stacks, and the file that is mapped
LIMITED = """
import resource, sys
from pathlib import Path
import torch
from prunectl.cli.app import main

def prune(name):
    try:
        main(["prune", name, "-c", "magnitude", "-s", "0.9", "-o", f"small.{name}", "--trust", "--force", "-q"])
    except SystemExit as ended:
        assert not ended.code, ended.code

prune("warm.safetensors")  # loads what is needed
lines = Path("/proc/self/status").read_text().splitlines()
now = next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:"))
more = Path("large.safetensors").stat().st_size + int(sys.argv[1]) * 1_000_000
resource.setrlimit(resource.RLIMIT_DATA, (now + more, now + more))
prune("large.safetensors")
"""
NETWORK = """
from torch import nn

def build(shape, classes, *, layers: int = 1):
    return nn.Sequential(nn.Flatten(), *[nn.Linear(2048, 2048) for _ in range(layers)], nn.Linear(2048, classes))
"""


@pytest.mark.long
def test_a_checkpoint_of_400_mb_is_pruned_in_220_mb(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PRUNECTL_TRUST": "1"}

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, *arguments], check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    for name, layers in (("warm", 1), ("large", 24)):
        network = ["--model", "net.py:build", "-M", f"layers={layers}", "--input", "2x32x32", "--classes", "10"]
        run("-m", "prunectl", "train", *network, "--epochs", "0", "-o", f"{name}.safetensors")
    assert (tmp_path / "large.safetensors").stat().st_size > 400_000_000
    run("-c", LIMITED, "220")
    small, _ = read_header(tmp_path / "small.large.safetensors")
    assert small.weights == small.dense.weights - round(0.9 * small.dense.weights)
