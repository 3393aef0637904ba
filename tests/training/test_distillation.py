"""A teacher, cutout, mixup and the warm-up do what their papers say, and a resumed training does not notice."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import prunectl
from prunectl.data.images import ImageData
from prunectl.errors import OptionError
from prunectl.training.batch import Batch, changed, covered, mixture
from prunectl.training.loss import objective
from prunectl.training.recipe import Recipe
from prunectl.training.state import State
from prunectl.training.teacher import Teacher, distillation
from prunectl.training.train import train
from prunectl.training.trainer import Trainer
from tests.helpers.networks import fresh_checkpoint, image_data

SHAPE = (1, 8, 8)


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def plain() -> ImageData:
    """The images without an augmentation, so that a teacher's logits hold for all epochs."""
    return replace(image_data(), augment=())


def test_the_divergence_from_a_teacher_by_hand() -> None:
    """Softened by T = 2, logits (2 ln 3, 0) are (3/4, 1/4); an even student is ln 2 - H away, times T²."""
    teacher, even = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert distillation(even, teacher, 2.0).item() == pytest.approx(4 * (math.log(2) - entropy))
    assert distillation(teacher, teacher, 2.0).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_the_loss_weighs_labels_and_teacher(weight: float) -> None:
    logits, teacher, labels = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    recipe = Recipe(teacher_weight=weight)
    batch = Batch(torch.zeros(4, *SHAPE), labels, teacher=teacher)
    loss, _ = objective(recipe, lambda pixels: logits, linear(), batch)
    hard, soft = nn.functional.cross_entropy(logits, labels), distillation(logits, teacher, 4.0)
    assert loss.item() == pytest.approx(((1 - weight) * hard + weight * soft).item(), rel=1e-5)


def test_the_loss_of_a_mixture_weighs_both_labels() -> None:
    logits, first, second = torch.randn(4, 3), torch.tensor([0, 1, 2, 0]), torch.tensor([1, 1, 0, 2])
    batch = Batch(torch.zeros(4, *SHAPE), first, second=second, share=0.7)
    loss, _ = objective(Recipe(), lambda pixels: logits, linear(), batch)
    one, other = (nn.functional.cross_entropy(logits, labels) for labels in (first, second))
    assert loss.item() == pytest.approx((0.7 * one + 0.3 * other).item(), rel=1e-5)


def test_a_mixture_is_the_weighted_sum_of_two_images() -> None:
    pixels, labels = torch.randint(256, (5, *SHAPE), dtype=torch.uint8), torch.arange(5)
    found = mixture(Batch(pixels, labels), 1.0, np.random.default_rng(3))
    assert found.second is not None
    assert sorted(found.second.tolist()) == [0, 1, 2, 3, 4]
    expected = found.share * pixels.float() + (1 - found.share) * pixels.float()[found.second]
    torch.testing.assert_close(found.pixels, expected)
    assert 0 < found.share < 1


def test_cutout_covers_half_a_side_with_the_mean() -> None:
    pixels = torch.full((2000, 2, 8, 12), 200, dtype=torch.uint8)
    found = covered(pixels, (0.0, 1.0), np.random.default_rng(0))
    hidden = (found == torch.tensor([0.0, 255.0]).view(1, 2, 1, 1)).all(1)  # (B, H, W)
    assert ((found == 200).all(1) ^ hidden).all()
    areas = hidden.sum((1, 2))
    assert areas.max() == 4 * 4  # half of the smaller side, squared
    assert areas.min() == 2 * 2  # its centre is in the image, in a corner at worst
    assert len(set(map(tuple, hidden.flatten(1).tolist()))) == 8 * 12  # every centre is drawn


def test_a_seed_decides_what_is_covered_and_mixed() -> None:
    pixels, labels = torch.randint(256, (6, *SHAPE), dtype=torch.uint8), torch.arange(6)

    def once(seed: int) -> Batch:
        return changed(Batch(pixels, labels), cutout=True, mixup=0.5, mean=(0.3,), seed=seed)

    assert torch.equal(once(1).pixels, once(1).pixels)
    assert not torch.equal(once(1).pixels, once(2).pixels)
    assert changed(Batch(pixels, labels), cutout=False, mixup=0, mean=(0.3,), seed=1).pixels is pixels


@pytest.mark.parametrize("augment", [(), ("flip",)])
def test_a_teacher_is_asked_once_where_images_do_not_change(augment: tuple[str, ...]) -> None:
    data, dense = plain(), fresh_checkpoint(linear, SHAPE)
    trainer = Trainer(dense, data, Recipe(epochs=3, batch_size=16, augment=augment), teacher=dense)
    assert trainer.teacher is not None
    asked: list[int] = []
    trainer.teacher.model.register_forward_hook(lambda module, inputs, output: asked.append(len(output)))
    for _ in trainer.steps():
        pass
    assert sum(asked) == len(data.train) * (3 if augment else 1)


def test_known_logits_are_those_of_the_images_of_a_batch() -> None:
    data, dense = plain(), fresh_checkpoint(linear, SHAPE)
    trainer = Trainer(dense, data, Recipe(epochs=1, batch_size=16), teacher=dense)
    assert trainer.teacher is not None
    trainer.teacher.learn_(trainer.data.train)
    batches = list(trainer._batches(0, 0))
    plain_batches = list(data.train.batches(16, seed=0))
    assert sum(len(batch.labels) for batch in batches) == len(data.train)
    for batch in batches:
        assert batch.teacher is not None
        torch.testing.assert_close(batch.teacher, trainer.teacher.logits(batch.pixels))
        places = [int((data.train.pixels == image).flatten(1).all(1).nonzero()[0]) for image in batch.pixels]
        assert batch.labels.tolist() == data.train.labels[places].tolist()
    assert len(plain_batches) == len(batches)


def test_a_student_of_the_teacher_alone_comes_to_its_logits() -> None:
    data = plain()
    dense = train(fresh_checkpoint(linear, SHAPE), data, Recipe(epochs=5, batch_size=16, lr=0.01))

    def other() -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    start = fresh_checkpoint(other, SHAPE)
    recipe = Recipe(epochs=30, batch_size=16, lr=0.01, wd=0, teacher_weight=1.0)
    student = train(start, data, recipe, teacher=dense)
    pixels = data.train.pixels

    def distance(checkpoint) -> float:
        one, two = (Teacher(each, dense, amp=False).logits(pixels).softmax(1) for each in (checkpoint, dense))
        return (one - two).abs().mean().item()

    assert distance(student) < 0.1 * distance(start)
    assert student.history[-1].options["teacher"] == Teacher(dense, dense, amp=False).sha256
    assert "teacher" not in dense.history[-1].options


@pytest.mark.parametrize(
    "changes",
    [{"mixup": 0.4, "augment": ("flip", "cutout")}, {"augment": ()}, {"sched": "cosine", "warmup": 0.5}],
)
@pytest.mark.parametrize("stop", [1, 5])
def test_a_resumed_training_is_bit_identical(changes: dict[str, object], stop: int) -> None:
    dense, recipe = fresh_checkpoint(linear, SHAPE), Recipe(epochs=2, batch_size=16, **changes)
    whole = train(dense, image_data(), recipe, teacher=dense)
    trainer = Trainer(dense, image_data(), recipe, teacher=dense)
    steps = trainer.steps()
    for _ in range(stop):
        next(steps)
    saved = trainer.state()
    saved = State(saved.tensors, json.loads(json.dumps(saved.values)))
    again = Trainer(trainer.current, image_data(), recipe, saved, teacher=dense)
    for _ in again.steps():
        pass
    for name, tensor in again.result().model.state_dict().items():
        assert torch.equal(tensor, whole.model.state_dict()[name]), name


@pytest.mark.parametrize(
    ("changes", "taught", "message"),
    [
        ({"teacher_weight": 0.9}, False, "are for a `teacher`; add one"),
        ({"adv_eps": 0.1}, True, "`teacher` and `adv_eps` cannot be combined"),
        ({"adv_eps": 0.1, "mixup": 0.1}, False, "`mixup` and `adv_eps` cannot be combined"),
        ({"sched": "onecycle", "warmup": 1}, False, "onecycle includes a warm-up"),
        ({"warmup": 3}, False, "`warmup` must be between 0 and 2, got 3"),
        ({"temperature": 0}, True, "`temperature` must be between 0.001 and 1000, got 0"),
    ],
)
def test_what_cannot_be_combined(changes: dict[str, object], taught: bool, message: str) -> None:
    dense = fresh_checkpoint(linear, SHAPE)
    with pytest.raises(OptionError, match=message):
        Trainer(dense, image_data(), Recipe(epochs=2, **changes), teacher=dense if taught else None)


def test_a_teacher_is_given_from_python() -> None:
    student, dense = linear(), linear()
    loader = [(torch.randn(8, *SHAPE), torch.randint(3, (8,))) for _ in range(2)]
    trained = prunectl.train(student, loader, teacher=dense, epochs=1, teacher_weight=1.0, wd=0.0)
    for name, tensor in dense.state_dict().items():  # the student is its teacher already
        torch.testing.assert_close(trained.model.state_dict()[name], tensor, atol=1e-2, rtol=0)


def test_a_teacher_of_other_images_is_refused() -> None:
    dense = fresh_checkpoint(linear, SHAPE)
    other = replace(dense, spec=replace(dense.spec, input=(1, 9, 9)))
    with pytest.raises(OptionError, match=r"`teacher` has input \(1, 9, 9\), the network \(1, 8, 8\)"):
        Trainer(dense, image_data(), Recipe(), teacher=other)
