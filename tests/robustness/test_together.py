"""Several processes evaluate and attack one network together, to the record of one process."""

from typing import Any

import pytest
import torch
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.measuring.evaluate import evaluate
from prunectl.robustness.attack import Attacker
from prunectl.robustness.tally import Tally
from tests.helpers.marks import quick_rows
from tests.helpers.networks import checkpoint_of, image_data
from tests.helpers.processes import together

HOW = {"attack": "pgd,ddn", "norm": "l2", "eps": [0.2, 1.0], "batch_size": 7, "options": {"steps": "3"}, "examples": 5}


def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    return checkpoint_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)), (1, 8, 8))


def attacked(done: int = 0) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The record without times, and the examples; the first batches may have been done before."""
    parts: list[Tally] = []
    if done:
        before = Attacker(checkpoint(), image_data(), **HOW)
        batches = before.batches()
        parts = [next(batches)[0] for _ in range(done)]
        batches.close()
    attacker = Attacker(checkpoint(), image_data(), reference=checkpoint(), **HOW)
    if done:
        attacker.examples.take(before.examples)
        attacker.reference = None
    for _ in attacker.batches(parts):
        pass
    record = attacker.record()
    times = {"seconds", "attack_seconds", "warnings"}  # warnings are the first process's
    return {key: value for key, value in record.items() if key not in times}, attacker.examples.tensors()


@pytest.mark.parametrize(("count", "done"), quick_rows([(2, 0), (3, 0), (3, 2), (2, 4)], {2}))
def test_processes_attack_as_one(count: int, done: int) -> None:
    """Of 30 images in 5 batches; after some that one process did before an interruption."""
    record, examples = attacked(done)
    for found, their_examples in together(count, attacked, done):
        assert found == record
        assert all(torch.equal(tensor, examples[name]) for name, tensor in their_examples.items())


def evaluated(batch_size: int) -> dict[str, Any]:
    return evaluate(checkpoint(), image_data(), batch_size=batch_size, with_latency=False)


@pytest.mark.parametrize(("count", "batch_size"), quick_rows([(2, 512), (3, 7), (3, 29)], {2}))
def test_processes_evaluate_as_one(count: int, batch_size: int) -> None:
    """Of 30 images; one batch of 29 leaves a single image, which one process has."""
    alone = evaluated(batch_size)
    for found in together(count, evaluated, batch_size):
        assert found["loss"] == pytest.approx(alone["loss"], rel=1e-6)
        differ = {key for key, value in alone.items() if found[key] != value}
        assert differ <= {"loss", "peak_memory_bytes"}
