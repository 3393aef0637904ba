"""Carlini-Wagner and EAD where the nearest adversarial is known: before a linear border."""

import foolbox
import pytest
import torch
from eagerpy.astensor import astensor
from torch import Tensor, nn

from prunectl.robustness.attacks.criterion import wanted
from prunectl.robustness.attacks.penalty import carlini_wagner, ead

WEIGHT = torch.tensor([0.5, -1.0, 2.0, 0.25])


@pytest.fixture(scope="module")
def net() -> foolbox.PyTorchModel:
    """Two classes of images of four pixels: the second where the weighted sum is above 1."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([torch.zeros(4), WEIGHT]))
        model[1].bias.copy_(torch.tensor([1.0, 0.0]))
    return foolbox.PyTorchModel(model.eval().requires_grad_(False), bounds=(0, 1))


def images() -> Tensor:
    """Around the middle, so that no pixel ends at 0 or 1: both classes."""
    return 0.5 + 0.1 * torch.tensor([[1.0, 1, 1, 1], [-1, 1, -1, 1], [0, 0, -1, 0]]).view(-1, 1, 2, 2)


def distances(norm: float) -> Tensor:
    """From the border: how far the sum is from 1, over the dual norm of the weights."""
    return (images().flatten(1) @ WEIGHT - 1).abs() / WEIGHT.norm(norm)


@pytest.mark.parametrize(
    ("attack", "size", "dual", "most"),
    [(carlini_wagner(), 2, 2, 1.03), (ead(), 1, float("inf"), 1.03)],
    ids=["carlini-wagner", "ead"],
)
def test_the_nearest_adversarial_lies_just_beyond_the_border(net, attack, size, dual, most) -> None:
    labels = net(images()).argmax(1)
    found = attack.run(net, astensor(images()), wanted(labels)).raw
    assert bool((net(found).argmax(1) != labels).all())
    ratio = (found - images()).flatten(1).norm(size, dim=1) / distances(dual)
    assert 1 - 1e-4 <= float(ratio.min()) <= float(ratio.max()) <= most


@pytest.mark.parametrize("make", [carlini_wagner, ead])
def test_confidence_is_by_how_much_another_class_leads(net, make) -> None:
    labels = net(images()).argmax(1)
    found = net(make(confidence=0.1).run(net, astensor(images()), wanted(labels)).raw)
    lead = found.gather(1, 1 - labels[:, None]) - found.gather(1, labels[:, None])
    assert float(lead.min()) >= 0.1 - 1e-5


@pytest.mark.parametrize("make", [carlini_wagner, ead])
def test_towards_a_class_and_where_nothing_is_found(net, make) -> None:
    labels = net(images()).argmax(1)
    found = make().run(net, astensor(images()), wanted(labels, 1 - labels)).raw
    assert torch.equal(net(found).argmax(1), 1 - labels)
    nothing = make(steps=1, binary_search_steps=1).run(net, astensor(images()), wanted(labels)).raw
    assert torch.equal(nothing, images())


def test_the_settings_of_foolbox_find_what_foolbox_finds(net) -> None:
    theirs = foolbox.attacks.L2CarliniWagnerAttack(steps=200, binary_search_steps=6)
    ours = carlini_wagner(steps=200, binary_search_steps=6, stepsize=0.01, initial_const=0.001)
    labels = net(images()).argmax(1)
    sizes = [
        (attack.run(net, astensor(images()), wanted(labels)).raw - images()).flatten(1).norm(dim=1)
        for attack in (ours, theirs)
    ]
    assert bool((sizes[0] <= 1.02 * sizes[1]).all())
