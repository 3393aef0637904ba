"""Processes score together, and prune as one process alone does."""

import subprocess
import sys

import pytest
import torch

from prunectl.masks import Masks
from prunectl.pruning.prune import prune
from tests.helpers.criterion_networks import NETWORKS, SHAPE
from tests.helpers.marks import quick
from tests.helpers.networks import fresh_checkpoint, image_data
from tests.helpers.processes import run_together, together

TOGETHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "prunectl"]


@pytest.mark.parametrize("criterion", ["snip", "grasp"])
def test_two_processes_prune_as_one(criterion: str, tmp_path, cli) -> None:
    line = f"prune --model lenet300 --subset 256 -c {criterion} -s 0.9 -O batches=2 --device cpu -o"
    assert cli(*line.split(), "one.safetensors") == "one.safetensors\n"
    first, second = run_together(tmp_path, 2, f"{line} two.safetensors")
    assert (first.code, first.out, second.code, second.out) == (0, "two.safetensors\n", 0, ""), first.err
    one, two = ((tmp_path / f"{name}.mask.safetensors").read_bytes() for name in ("one", "two"))
    bits = len(one) - int.from_bytes(one[:8], "little")
    differ = sum((a ^ b).bit_count() for a, b in zip(one[-bits:], two[-bits:], strict=True))
    assert differ <= 20  # of 266,200: sums in another order


def masks_of(criterion: str) -> Masks:
    torch.manual_seed(0)
    begun = fresh_checkpoint(NETWORKS["chain"], SHAPE)
    return prune(begun, image_data(), criterion=criterion, sparsity=0.5, batch_size=16).masks


@pytest.mark.parametrize("criterion", quick(["gate-decorators", "wanda", "chip"], ["wanda"]))
def test_processes_have_one_mask_that_is_the_mask_of_one(criterion: str) -> None:
    """Gate decorators score by the statistics of whole batches."""
    alone = masks_of(criterion)
    for found in together(2, masks_of, criterion):
        assert found.keys() == alone.keys()
        assert all(bool((found[name] == mask).all()) for name, mask in alone.items())


@pytest.mark.long
def test_torchrun_starts_a_pipe_of_one_path(tmp_path) -> None:
    """The path on stdin is read once, for both processes."""
    line = ["train", "--model", "lenet300", "--subset", "64", "--epochs", "1", "-o", "net.safetensors"]
    made = subprocess.run(
        [*TOGETHER, *line, "--device", "cpu"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (made.returncode, made.stdout) == (0, "net.safetensors\n"), made.stderr
    command = [*TOGETHER, "eval", "--no-latency", "--device", "cpu"]
    ran = subprocess.run(command, cwd=tmp_path, input=made.stdout, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "net.safetensors\n"), ran.stderr
    assert len((tmp_path / "net.results.jsonl").read_text().splitlines()) == 1
