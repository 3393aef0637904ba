"""What --compile makes is kept as long as it fits the network."""

import pytest
import torch
from torch import nn

from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.training.recipe import Recipe
from prunectl.training.trainer import Trainer
from tests.helpers.networks import fresh_checkpoint, image_data

SHAPE = (1, 4, 4)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))


@pytest.mark.parametrize(("criterion", "frames"), [("gmp", 1), ("efficient-convnets", 3)])
def test_rounds_of_weights_compile_once_and_rounds_of_nodes_once_each(
    criterion: str, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading torch's compiler takes seconds; a counter stands in for what makes machine code, which takes a minute."""
    from torch._dynamo.testing import CompileCounter

    counter, compile_ = CompileCounter(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compile_(model, backend=counter))
    during = GradualPruning(criterion, 0.5, prune_delay=1, prune_every=1, steps=2, schedule="cubic")
    recipe = Recipe(epochs=5, batch_size=16, compile=True, prune=during)
    trainer = Trainer(fresh_checkpoint(network, SHAPE), image_data(64, SHAPE), recipe)
    for _ in trainer.steps():
        pass
    assert trainer.rounds is not None
    assert len(trainer.rounds.events) == 2
    assert counter.frame_count == frames
