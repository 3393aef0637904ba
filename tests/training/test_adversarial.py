"""Adversarial training: what is trained on, what it costs, and that it helps."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from prunectl.data.images import ImageData, Images, Preprocessing
from prunectl.measuring.evaluate import evaluate
from prunectl.robustness.attack import attack
from prunectl.training.adversarial import adversarial, divergence, farthest, passes, worst_case
from prunectl.training.recipe import Recipe
from prunectl.training.train import train
from prunectl.training.trainer import Trainer
from tests.helpers.networks import checkpoint_of, image_data
from tests.helpers.one_pixel import threshold


def forward(images):
    """The network of one pixel, on images in [0, 1]."""
    return threshold()((images - 0.5) / 0.25)


def test_the_worst_case_of_one_pixel_lies_at_the_end_of_the_ball():
    images = torch.tensor([0.3, 0.95, 0.05]).view(-1, 1, 1, 1)
    torch.manual_seed(0)
    found = worst_case(forward, images, torch.tensor([0, 0, 1]), eps=0.1, steps=7)
    assert found.flatten().tolist() == pytest.approx([0.4, 1.0, 0.0])


def test_the_farthest_predictions_need_no_labels():
    images = torch.tensor([0.5]).view(1, 1, 1, 1)
    torch.manual_seed(0)
    found = farthest(forward, images, eps=0.1, steps=7)
    assert abs(float(found) - 0.5) == pytest.approx(0.1)


def test_the_divergence_in_literal_numbers():
    even, sure = torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])
    # KL of (1/2, 1/2) from (p, 1 - p): log(1/2) - (log p + log(1 - p)) / 2
    logs = sure.log_softmax(1)
    assert float(divergence(even, sure)) == pytest.approx(float(torch.tensor(0.5).log() - logs.mean()))
    assert float(divergence(sure, sure)) == pytest.approx(0, abs=1e-7)


def test_making_them_moves_no_statistics_and_leaves_no_gradients():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(72, 3)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pixels, labels = next(image_data().train.batches(8))
    for loss in ("pgd", "trades"):
        found = adversarial(model, model, pixels, labels, eps=0.1, steps=2, loss=loss)
        assert float((found - pixels).abs().max()) <= 25.5 + 1e-3
        assert 0 <= float(found.min()) <= float(found.max()) <= 255
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_network_that_was_evaluated_trains_on_adversarials():
    data = image_data(classes=3)
    begun = checkpoint_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), (1, 8, 8))
    data = replace(data, preprocessing=Preprocessing((0.123,), (0.321,)))  # of no other test
    begun = replace(begun, preprocessing=data.preprocessing)
    evaluate(begun, data, with_latency=False)
    recipe = Recipe(epochs=1, batch_size=16, adv_eps=0.1, adv_steps=1)
    assert train(begun, data, recipe).history[-1].options["adv_eps"] == 0.1


def test_what_a_step_costs_in_forward_passes():
    assert (passes(None, 7), passes("pgd", 7), passes("trades", 7)) == (3, 17, 21)


def two_kinds_of_features() -> ImageData:
    """One pixel that tells the class nine times of ten by a wide margin, 63 that always do by a hair.

    (Tsipras et al. 2019: what is right most often is then not what is robust.)
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    sign = 2 * labels - 1
    hair = 127.5 + 8 * sign.view(-1, 1) + 20 * torch.randn(400, 64, generator=generator)
    told = torch.where(torch.rand(400, generator=generator) < 0.9, sign, -sign)
    hair[:, 0] = 127.5 + 100 * told
    images = Images(hair.clamp(0, 255).to(torch.uint8).view(-1, 1, 8, 8), labels)
    return ImageData("features", images, images, ("0", "1"), Preprocessing((0.5,), (0.25,)))


@pytest.mark.parametrize("loss", ["pgd", "trades"])
def test_a_network_trained_on_adversarials_holds_where_the_plain_one_falls(loss):
    torch.manual_seed(0)
    begun = checkpoint_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), (1, 8, 8), 2)
    data, recipe = two_kinds_of_features(), {"epochs": 15, "batch_size": 40, "lr": 1e-2}
    plain = train(begun, data, Recipe(**recipe))
    hard = train(begun, data, Recipe(**recipe, adv_eps=0.08, adv_steps=3, adv_loss=loss))
    records = [attack(network, data, attack="fgsm", eps=[0.08]) for network in (plain, hard)]
    robust = [record["results"][0]["robust_accuracy"] for record in records]
    assert records[0]["clean_accuracy"] > 0.97
    assert robust[0] < 0.5
    assert robust[1] > 0.8


def test_an_interrupted_adversarial_training_ends_with_the_same_weights():
    torch.manual_seed(0)
    begun = checkpoint_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), (1, 8, 8))
    data, recipe = image_data(), Recipe(epochs=2, batch_size=20, adv_eps=0.1, adv_steps=2)
    whole = train(begun, data, recipe)
    first = Trainer(begun, data, recipe)
    steps = first.steps()
    for _ in range(3):
        next(steps)
    steps.close()
    second = Trainer(first.current, data, recipe, first.state())
    for _ in second.steps():
        pass
    after = second.result().model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in whole.model.state_dict().items())
