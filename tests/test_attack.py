"""Attacks are foolbox's, numbers are over all images, and the network comes back as it was."""

import pytest
import torch
from torch import nn

from prunectl.attack import attack
from prunectl.errors import DataError, OptionError, UnknownName
from prunectl.images import ImageData, Images, Preprocessing
from tests.helpers import checkpoint_of, image_data

SHAPE = (1, 1, 1)


def threshold() -> nn.Module:
    """One pixel p in [0, 1]: class 1 where p > 0.5. Normalised input is (p - 0.5) / 0.25."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.0], [1.0]]))
        model[1].bias.zero_()
    return model


def pixels() -> ImageData:
    """Distances from the threshold 0.5 of about .4, .2, .1, and one image that is wrong without an attack."""
    values = torch.tensor([26, 77, 102, 230]).view(-1, 1, 1, 1).to(torch.uint8)
    images = Images(values, torch.tensor([0, 0, 0, 0]))
    return ImageData("pixels", images, images, ("0", "1"), Preprocessing((0.5,), (0.25,)))


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_robust_accuracy_on_a_network_whose_margins_are_known(name: str) -> None:
    steps = {"steps": "100"} if name == "pgd" else {}  # enough to cross the whole ball from a bad random start
    checkpoint = checkpoint_of(threshold(), SHAPE, 2)
    record = attack(checkpoint, pixels(), attack=name, eps=[0.3, 0.05, 0.15, 0.45], options=steps)
    assert record["clean_accuracy"] == 0.75
    assert [r["eps"] for r in record["results"]] == [0.05, 0.15, 0.3, 0.45]
    assert [r["robust_accuracy"] for r in record["results"]] == [0.75, 0.5, 0.25, 0.0]
    assert [r["success"] for r in record["results"]] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_batches_and_n_change_nothing_but_the_images() -> None:
    checkpoint = checkpoint_of(threshold(), SHAPE, 2)
    whole = attack(checkpoint, pixels(), attack="fgsm", eps=[0.15])
    assert attack(checkpoint, pixels(), attack="fgsm", eps=[0.15], batch_size=1)["results"] == whole["results"]
    # images 0 and 2, whose distances from the threshold are .4 and .1
    spread = attack(checkpoint, pixels(), attack="fgsm", eps=[0.15], n=2)
    assert (spread["images"], spread["clean_accuracy"], spread["results"][0]["robust_accuracy"]) == (2, 1.0, 0.5)
    assert attack(checkpoint, pixels(), attack="fgsm", eps=[0.15], n=99)["results"] == whole["results"]


def test_the_network_is_left_alone_and_the_seed_decides() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3)).train()
    model[3].bias.requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    checkpoint = checkpoint_of(model, (1, 8, 8))
    torch.manual_seed(2)
    expected = torch.rand(1)
    torch.manual_seed(2)
    one, two = (attack(checkpoint, image_data(), attack="pgd", eps=[0.02, 0.1], options={"steps": "5"}) for _ in "ab")
    assert one["results"] == two["results"]
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert model.training
    assert all(module.training for module in model)
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == [True] * 5 + [False]


def test_the_eps_of_other_norms_may_be_larger() -> None:
    data = image_data()
    torch.manual_seed(0)
    checkpoint = checkpoint_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), (1, 8, 8))
    record = attack(checkpoint, data, attack="foolbox.attacks:L2FastGradientAttack", eps=[50.0, 2.0])
    assert [result["eps"] for result in record["results"]] == [2.0, 50.0]
    with pytest.raises(OptionError, match="L2FastGradientAttack lie above 0, got inf"):
        attack(checkpoint, data, attack="foolbox.attacks:L2FastGradientAttack", eps=[float("inf")])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"attack": "pdg"}, UnknownName, "no attack named 'pdg'; did you mean 'pgd'"),
        ({"eps": [0.0]}, OptionError, "eps of pgd lie above 0 and up to 1, got 0"),
        ({"eps": []}, OptionError, "got none"),
        ({"eps": [float("nan")]}, OptionError, "got nan"),
        ({"eps": [2.0]}, OptionError, "got 2"),
        ({"options": {"stepz": "4"}}, OptionError, "attack pgd has no option 'stepz'; its options: .*steps=40"),
        ({"options": {"steps": "many"}}, OptionError, "option 'steps' of attack pgd is of type int, as 40 is"),
        ({"n": 0}, DataError, "no test images to attack"),
    ],
)
def test_bad_input(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        attack(checkpoint_of(threshold(), SHAPE, 2), pixels(), **{"attack": "pgd", **changes})
