"""AC/DC: sparse and dense phases by turns, in one training."""

import torch

from prunectl.training.trainer import Trainer
from tests.helpers.gradual_pruning import recipe, start
from tests.helpers.networks import image_data


def test_phases_alternate_and_the_largest_of_all_layers_stay() -> None:
    """Rounds to 0.6, 0 and 0.6: weights return as 0 and train, and the last round ranks all layers together."""
    trainer = Trainer(start(), image_data(), recipe("ac-dc", 0.6, epochs=6, prune_delay=1, steps=3))
    dense: dict[str, torch.Tensor] = {}
    for _ in trainer.steps():
        if len(trainer.rounds.events) == 2:
            assert all(bool(mask.all()) for mask in trainer.current.masks.values())
            dense = {name: p.detach().abs().clone() for name, p in trainer.model.named_parameters()}
    made = trainer.result()
    total = made.dense.weights
    reached = [event["weight_sparsity"] for event in made.history[-1].result["events"]]
    assert reached == [1 - (total - round(0.6 * total)) / total, 0, 1 - (total - round(0.6 * total)) / total]
    assert all(bool((dense[name] > 0).any(0).all()) for name in made.masks)  # what has returned trains
    kept = torch.cat([dense[name][mask] for name, mask in made.masks.items()])
    pruned = torch.cat([dense[name][~mask] for name, mask in made.masks.items()])
    assert kept.min() >= pruned.max()
    assert len({float(mask.float().mean()) for mask in made.masks.values()}) == len(made.masks)
