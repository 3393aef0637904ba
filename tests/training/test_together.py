"""Several processes train one network together, as one process trains it alone."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.checkpoints.options.training import Recipe
from prunectl.pruning.prune import prune
from prunectl.training.state import State
from prunectl.training.trainer import Trainer
from tests.helpers.marks import quick, quick_rows
from tests.helpers.networks import fresh_checkpoint, image_data
from tests.helpers.processes import together

SHAPE = (1, 8, 8)
SGD = {"opt": "sgd", "lr": 0.05, "epochs": 2, "batch_size": 16}
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "changed": {"augment": ("flip", "crop", "cutout"), "mixup": 0.4, "label_smoothing": 0.1},
    "flipped": {"augment": ("flip", "crop"), "clip": 0.5, "ema": 0.9, "noise": 0.01},
    "penalised": {"reg": "lp", "reg_weight": 1e-3, "opt": "adam", "lr": 2e-3, "sched": "cosine"},
    "adversarial": {"adv_eps": 0.05, "adv_steps": 2, "adv_loss": "trades", "epochs": 1},
}
Found = tuple[dict[str, Tensor], list[Any]]


def network() -> nn.Sequential:
    """One with statistics of the batch and draws by image, in float64: rounding must not decide at a kink of ReLU."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.2)]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * 36, 3)).double()


def trained(begun: Checkpoint, recipe: Recipe, teacher: Checkpoint | None = None) -> Found:
    """The network after a training, with losses and accuracies of its log; of 61 images a batch of 13 is the last."""
    trainer = Trainer(begun, image_data(61), recipe, teacher=teacher)
    records = [record for record in trainer.steps() if record is not None]
    numbers = [
        [
            record[key]
            for key in ("step", "images", "loss", "accuracy", "eval_accuracy", "training_flops")
            if key in record
        ]
        for record in records
    ]
    result = trainer.result()
    masks = {f"mask of {name}": mask for name, mask in result.masks.items()}
    return {**result.model.state_dict(), **masks}, numbers


def part(current: Checkpoint, recipe: Recipe, state: State | None, until: int) -> tuple[Checkpoint, State]:
    """The network and the state of a training after so many steps."""
    trainer = Trainer(current, image_data(61), recipe, state)
    for _ in trainer.steps():
        if trainer.step == until:
            break
    return trainer.current, trainer.state()


def check_equal(one: Found, other: Found, within: float = 1e-9) -> None:
    assert one[0].keys() == other[0].keys()
    for name, tensor in one[0].items():
        torch.testing.assert_close(other[0][name], tensor, rtol=0, atol=within)
    assert len(one[1]) == len(other[1])
    for record, again in zip(one[1], other[1], strict=True):
        assert again == pytest.approx(record, abs=1e-5)  # losses are added up in float32


@pytest.mark.parametrize(
    ("name", "count"),
    quick_rows(product(RECIPES, (2, 3)), {0, 3}),  # plain with two, all changes with three
)
def test_processes_train_the_network_of_one(name: str, count: int) -> None:
    recipe, begun = Recipe(**{**SGD, **RECIPES[name]}), fresh_checkpoint(network, SHAPE)
    alone = trained(begun, recipe)
    for found in together(count, trained, begun, recipe):
        check_equal(alone, found)


def test_a_batch_smaller_than_the_processes_is_taken_whole_by_each() -> None:
    recipe, begun = Recipe(**{**SGD, "batch_size": 29, "epochs": 1}), fresh_checkpoint(network, SHAPE)
    alone = trained(begun, recipe)  # batches of 29, 29 and 3
    for found in together(4, trained, begun, recipe):
        check_equal(alone, found)


def test_processes_learn_from_a_teacher_as_one() -> None:
    recipe, begun = Recipe(**{**SGD, "epochs": 1}), fresh_checkpoint(network, SHAPE)
    teacher = fresh_checkpoint(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), SHAPE)
    alone = trained(begun, recipe, teacher)
    for found in together(2, trained, begun, recipe, teacher):
        check_equal(alone, found)


@pytest.mark.parametrize(
    "criterion", quick(["snipit-during", "snapit-during", "rigl", "l0", "gate-decorators"], ["snapit-during"])
)
def test_processes_prune_during_training_to_one_mask(criterion: str) -> None:
    begun = fresh_checkpoint(network, SHAPE)
    during = GradualPruning(criterion, sparsity=0.5, prune_delay=1, prune_every=1, steps=2)
    recipe = Recipe(**{**SGD, "epochs": 4}, prune=during)
    alone = trained(begun, recipe)
    found = together(2, trained, begun, recipe)
    check_equal(found[0], found[1], within=0)
    check_equal(alone, found[0])


@pytest.mark.long
def test_a_training_goes_on_with_another_number_of_processes() -> None:
    """Of 8 steps, 2 processes do 3, one does 2 and 3 do the rest."""
    begun = prune(fresh_checkpoint(network, SHAPE), image_data(61), criterion="snip", sparsity=0.8, batch_size=16)
    recipe = Recipe(**SGD)
    alone = trained(begun, recipe)

    halted = together(2, part, begun, recipe, None, 3)[0]
    current, state = part(halted[0], recipe, halted[1], 5)
    current, _ = together(3, part, current, recipe, state, 8)[0]
    for name, tensor in current.model.state_dict().items():
        torch.testing.assert_close(alone[0][name], tensor, rtol=0, atol=1e-9)
