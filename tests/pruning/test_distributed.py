"""Processes that torchrun starts score together, and prune as one process alone does."""

import subprocess
import sys

import pytest

TOGETHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "prunectl"]


@pytest.mark.parametrize("criterion", ["snip", pytest.param("grasp", marks=pytest.mark.long)])
def test_two_processes_prune_as_one(criterion: str, tmp_path, cli) -> None:
    line = f"prune --model lenet300 --subset 256 -c {criterion} -s 0.9 -O batches=2 --device cpu -o".split()
    assert cli(*line, "one.safetensors") == "one.safetensors\n"
    command = [*TOGETHER, *line, "two.safetensors"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "two.safetensors\n"), ran.stderr
    one, two = ((tmp_path / f"{name}.mask.safetensors").read_bytes() for name in ("one", "two"))
    bits = len(one) - int.from_bytes(one[:8], "little")
    differ = sum((a ^ b).bit_count() for a, b in zip(one[-bits:], two[-bits:], strict=True))
    assert differ <= 20  # of 266,200: sums in another order


def test_a_training_in_several_processes_is_refused(raw, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    ran = raw("train", "--model", "lenet300", "--subset", 64)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "prunectl: train runs in one process, torchrun started several; prune scores in several\n"
