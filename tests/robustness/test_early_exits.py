"""An image that falls leaves its batch at once, and the others go the way that foolbox sends them."""

import foolbox
import pytest
import torch
from eagerpy.astensor import astensor
from foolbox import attacks
from torch import Tensor, nn

from prunectl.robustness.attacks import apgd
from prunectl.robustness.attacks.criterion import wanted
from prunectl.robustness.attacks.deepfool import deepfool, linf_deepfool
from prunectl.robustness.attacks.pgd import l1_pgd
from prunectl.robustness.descent import shortened
from prunectl.robustness.methods import Method
from tests.helpers.one_pixel import threshold


class Counting(nn.Module):
    """A network that notes how many images it is asked about."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.asked = inner, []

    def forward(self, images: Tensor) -> Tensor:
        self.asked.append(len(images))
        outputs: Tensor = self.inner(images)
        return outputs


def wrapped(model: nn.Module) -> foolbox.PyTorchModel:
    """As attacks take it."""
    return foolbox.PyTorchModel(model.eval().requires_grad_(False), bounds=(0, 1))


@pytest.fixture(scope="module")
def net() -> foolbox.PyTorchModel:
    """A small network of five classes."""
    torch.manual_seed(0)
    return wrapped(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 5)))


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Eight images."""
    return torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(1))


DESCENTS = [
    attacks.LinfProjectedGradientDescentAttack(steps=5),
    attacks.L2AdamBasicIterativeAttack(steps=5),
    attacks.LinfMomentumIterativeFastGradientMethod(steps=5),
    l1_pgd(steps=5),
]


@pytest.mark.parametrize("attack", DESCENTS, ids=lambda attack: type(attack).__name__)
def test_where_nothing_falls_every_step_is_that_of_foolbox(attack, net, images) -> None:
    goal = wanted(net(images).argmax(1), unmet=True)
    torch.manual_seed(3)
    theirs = attack.run(net, astensor(images), goal, epsilon=0.3).raw
    torch.manual_seed(3)
    ours = shortened(attack)(net, images, goal, 0.3)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("attack", "eps"), [(DESCENTS[1], 0.2), (DESCENTS[2], 0.05)], ids=["adam", "momentum"])
def test_whoever_leaves_takes_nothing_from_the_others(attack, eps, net, images) -> None:
    """Also not their running averages: the same way in company and alone."""
    labels = net(images).argmax(1)
    together = shortened(attack)(net, images, wanted(labels), eps)
    fell = net(together).argmax(1) != labels
    assert 0 < int(fell.sum()) < 8
    alone = [shortened(attack)(net, images[i : i + 1], wanted(labels[i : i + 1]), eps) for i in range(8)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


def test_the_batch_shrinks_with_every_image_that_falls() -> None:
    """Steps of 0.06 on pixels 0.02 and 0.1 below the border, and 0.4: one falls after a step, one after two."""
    model = Counting(threshold(0.625))  # 0.5 of pixels that are not normalised
    attack = attacks.LinfBasicIterativeAttack(steps=5)
    pixels, labels = torch.tensor([0.48, 0.4, 0.1]).view(-1, 1, 1, 1), torch.zeros(3, dtype=torch.int64)
    found = shortened(attack)(foolbox.PyTorchModel(model.eval(), bounds=(0, 1)), pixels, wanted(labels), 0.3)
    assert model.asked == [3, 3, 2, 1, 1]
    assert found[2].item() == pytest.approx(0.4, abs=1e-6)


@pytest.mark.parametrize("eps", [1.0, 3.0])
def test_no_image_leaves_outside_the_ball(eps, net, images) -> None:
    """Foolbox's projection on the L1 ball is not exact: an image that left outside would stand once it is pulled in."""
    labels = net(images).argmax(1)
    torch.manual_seed(0)
    found = shortened(l1_pgd())(net, images, wanted(labels), eps)
    fell = net(found).argmax(1) != labels
    torch.manual_seed(0)
    last = l1_pgd().run(net, astensor(images), wanted(labels), epsilon=eps).raw
    assert int(fell.sum()) >= int((net(last).argmax(1) != labels).sum()) > 0
    pulled = Method("l1-pgd", l1_pgd(), "l1", minimal=False)._within(images, found, eps)
    assert torch.equal(net(pulled).argmax(1) != labels, fell)


def test_noise_is_drawn_for_those_that_stand(net, images) -> None:
    labels = net(images).argmax(1)
    attack = attacks.L2RepeatedAdditiveGaussianNoiseAttack(repeats=20)
    torch.manual_seed(0)
    found = shortened(attack)(net, images, wanted(labels), 3.0)
    fell = net(found).argmax(1) != labels
    assert bool(fell.any())
    assert torch.equal(found[~fell], images[~fell])


def test_an_attack_with_a_way_of_its_own_keeps_it() -> None:
    assert shortened(attacks.LinfFastGradientAttack()) is None
    assert shortened(attacks.DDNAttack()) is None


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(deepfool(), attacks.L2DeepFoolAttack()), (linf_deepfool(), attacks.LinfDeepFoolAttack())],
    ids=["l2", "linf"],
)
def test_deepfool_finds_what_foolbox_finds(ours, theirs, net, images) -> None:
    labels = net(images).argmax(1)
    found = ours.run(net, astensor(images), wanted(labels)).raw
    assert torch.allclose(found, theirs.run(net, astensor(images), wanted(labels)).raw, atol=1e-5)
    assert bool((net(found).argmax(1) != labels).all())


def test_apgd_asks_no_more_about_an_image_that_fell(images) -> None:
    model = Counting(nn.Sequential(nn.Flatten(), nn.Linear(108, 5)))
    network = foolbox.PyTorchModel(model.eval().requires_grad_(False), bounds=(0, 1))
    labels = network(images).argmax(1)
    model.asked.clear()
    torch.manual_seed(0)
    found = apgd.apgd_ce(steps=20).run(network, astensor(images), wanted(labels), epsilon=0.5).raw
    assert bool((network(found).argmax(1) != labels).all())
    assert sum(model.asked[:-1]) < 8 * 5  # all fall within a few of the 21 looks
