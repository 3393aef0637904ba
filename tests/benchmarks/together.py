"""How far networks that two and three gloo processes train are from the one that a process trains alone.

Run as `python -m tests.benchmarks.together`; `together.json` beside it has the figures. Two epochs of SGD with batches
of 100 on 480 images of the digits (the last batch has 80, shares differ by one image), and one round of pruning with
`snipit-during`; in float32, and in float64, where no activation comes so close to a kink of ReLU that rounding decides.
"""

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.checkpoints.options.training import Recipe
from prunectl.data.load import load_data
from prunectl.models.fresh import fresh
from prunectl.training.trainer import Trainer
from tests.helpers.processes import together

NETWORKS = ("mlp5", "lenet5", "resnet20")
RECIPES: dict[str, dict[str, Any]] = {
    "SGD": {},
    "SGD with momentum, flips, crops, pruned to 0.9": {
        "epochs": 3,
        "momentum": 0.9,
        "augment": ("flip", "crop"),
        "prune": GradualPruning("snipit-during", 0.9, schedule="one-shot", prune_delay=1, prune_every=1),
    },
}


def trained(network: str, recipe: str, dtype: torch.dtype) -> tuple[dict[str, Tensor], dict[str, Tensor], float]:
    """Tensors and masks of a network after a training, and its loss on the test images."""
    torch.set_num_threads(1)
    data = load_data("digits", None, image_size=28).subset(480, 0)
    begun = fresh(network, data, source="digits", options={}, seed=0)
    begun.model.to(dtype)
    how = {"epochs": 2, "batch_size": 100, "opt": "sgd", "lr": 0.05, "momentum": 0.0, **RECIPES[recipe]}
    trainer = Trainer(begun, data, Recipe(**how))
    for _ in trainer.steps():
        pass
    made, found = trainer.result(), trainer.evaluated
    assert found is not None
    return dict(made.model.state_dict()), dict(made.masks), found.loss


def row(network: str, recipe: str, dtype: torch.dtype, count: int, alone: Any) -> dict[str, Any]:
    """One line of the table."""
    ranks = together(count, trained, network, recipe, dtype)
    tensors, masks, loss = ranks[0]
    same = all(
        torch.equal(mine, first)
        for rank in ranks[1:]
        for mine, first in zip(
            [*rank[0].values(), *rank[1].values()], [*tensors.values(), *masks.values()], strict=True
        )
    )
    return {
        "network": network,
        "recipe": recipe,
        "dtype": str(dtype).removeprefix("torch."),
        "processes": count,
        "largest_difference": max(float((tensors[name] - t).detach().abs().max()) for name, t in alone[0].items()),
        "other_mask_bits": sum(int((masks[name] != mask).sum()) for name, mask in alone[1].items()),
        "loss_difference": abs(loss - alone[2]),
        "same_on_all": same,
    }


def main() -> None:
    rows = []
    for network in sys.argv[1:] or NETWORKS:
        for recipe, dtype in itertools.product(RECIPES, (torch.float32, torch.float64)):
            alone = trained(network, recipe, dtype)
            for count in (2, 3):
                rows.append(row(network, recipe, dtype, count, alone))
                print(json.dumps(rows[-1]), flush=True)
    Path(__file__).with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
