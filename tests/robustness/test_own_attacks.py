"""APGD and Square by their papers: schedules, losses and balls in literal numbers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunectl.robustness.attacks import apgd, square

foolbox = pytest.importorskip("foolbox")


def test_the_checkpoints_of_equation_4():
    assert [end for _, end in apgd._checkpoints(100)] == [22, 41, 57, 70, 80, 87, 93, 99, 100]
    assert [end for _, end in apgd._checkpoints(10)] == [3, 5, 6, 7, 8, 9, 10]
    assert [*apgd._checkpoints(1)] == [(0, 1)]


def test_the_losses_in_literal_numbers():
    logits = torch.tensor([[5.0, 3.0, 1.0, 0.0]])
    at = torch.tensor([0])
    # the label leads by 2, first and third are 4 apart
    assert apgd._away("dlr", torch.tensor([0]))(logits, at).tolist() == [-0.5]
    # class 2 is behind class 0 by 4
    assert apgd._away("dlr", torch.tensor([2]))(logits, at).tolist() == [1.0]
    # the target 1 is behind by 2; 5 - (1 + 0) / 2 = 4.5
    assert apgd._targeted_dlr(torch.tensor([0]), torch.tensor([1]))(logits, at).tolist() == pytest.approx([-2 / 4.5])
    cross = apgd._away("ce", torch.tensor([0]))(logits, at)
    assert cross.tolist() == pytest.approx([math.log(sum(math.exp(z - 5) for z in (5, 3, 1, 0)))])
    assert apgd._towards("ce", torch.tensor([0]))(logits, at).tolist() == pytest.approx([-float(cross)])


def test_a_step_that_does_not_help_is_halved_from_the_peak():
    point = torch.full((2, 1, 1, 1), 0.5)
    now = apgd._Ascent.begin(point, torch.tensor([1.0, 1.0]), torch.ones(2, 1, 1, 1), step=0.2)
    values = iter([torch.tensor([2.0, 0.5]), torch.tensor([3.0, 0.4])])

    def look(points):
        return next(values), torch.ones_like(points)

    now.move_(point, 0.1, apgd._Linf, first=True, look=look)
    now.move_(point, 0.1, apgd._Linf, first=False, look=look)
    now.judge_(2)
    assert now.step.tolist() == pytest.approx([0.2, 0.1])
    assert now.point.flatten().tolist() == pytest.approx([0.6, 0.5])
    assert now.peak_value.tolist() == [3.0, 1.0]
    now.judge_(2)  # no rise since: the first is halved for that, the second as well
    assert now.step.tolist() == pytest.approx([0.1, 0.05])


def test_the_square_shrinks_by_parts_of_the_budget():
    attack = square.square(queries=5000)
    assert [attack._part(query) for query in (1, 5, 6, 26, 2501, 4999)] == [0.8, 0.8, 0.4, 0.2, 0.00625, 0.0015625]


def test_the_bump_of_equation_2():
    # the ring around the centre of 3 x 3 has 1/4 where the centre has 1 + 1/4
    ring, centre = 0.25, 1.25
    assert square._peak(3, 3).tolist() == [[ring] * 3, [ring, centre, ring], [ring] * 3]
    for side in (1, 2, 3, 6, 7):
        assert float(square._bump(side, torch.device("cpu")).norm()) == pytest.approx(1)
    assert float(square._bump(6, torch.device("cpu")).sum()) == pytest.approx(0, abs=1e-6)


NET = nn.Sequential(nn.Flatten(), nn.Linear(75, 5)).eval().requires_grad_(False)
MAKERS = {
    "linf": [apgd.apgd_ce, apgd.apgd_dlr, apgd.apgd_t, square.square],
    "l2": [apgd.l2_apgd_ce, apgd.l2_apgd_dlr, apgd.l2_apgd_t, square.l2_square],
}


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["linf", "l2"]), st.integers(0, 3), st.floats(1e-3, 1.0), st.integers(0, 99), st.booleans())
def test_adversarials_lie_in_the_ball_and_are_never_lost(norm, which, epsilon, seed, targeted):
    make = MAKERS[norm][which]
    attack = make(queries=30) if which == 3 else make(steps=6)
    torch.manual_seed(seed)
    images = torch.rand(4, 3, 5, 5)
    labels = NET(images).argmax(1)
    aims = (labels + 1) % 5
    criteria = foolbox.criteria
    wanted = criteria.TargetedMisclassification(aims) if targeted else criteria.Misclassification(labels)
    model = foolbox.PyTorchModel(NET, bounds=(0, 1))
    raw, clipped, success = attack(model, images, wanted, epsilons=[epsilon])
    sizes = (raw[0] - images).flatten(1)
    sizes = sizes.abs().amax(1) if norm == "linf" else sizes.norm(dim=1)
    assert float(sizes.max()) <= epsilon * (1 + 1e-5) + 1e-6
    assert 0 <= float(raw[0].min()) <= float(raw[0].max()) <= 1
    classes = NET(clipped[0]).argmax(1)
    assert torch.equal(success[0], classes == aims if targeted else classes != labels)


@pytest.mark.parametrize("make", [apgd.apgd_ce, apgd.apgd_dlr, apgd.apgd_t, square.square])
def test_a_linear_network_falls_exactly_where_its_margin_ends(make):
    """The distance to the border of two classes is the difference of logits over the L1 norm of that of the weights."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).eval().requires_grad_(False)
    images = 0.3 + 0.4 * torch.rand(32, 1, 4, 4)
    logits = net(images)
    labels = logits.argmax(1)
    weight = net[1].weight
    ahead = logits.gather(1, labels[:, None]) - logits  # (B, classes)
    slopes = (weight[labels][:, None] - weight).abs().sum(2)
    distance = (ahead / slopes.clamp(min=1e-9)).masked_fill(nn.functional.one_hot(labels, 4).bool(), 9).amin(1)
    eps = float(distance.median())
    attack = make(queries=2000) if make is square.square else make()
    torch.manual_seed(0)
    _, _, success = attack(foolbox.PyTorchModel(net, bounds=(0, 1)), images, labels, epsilons=[eps])
    assert not bool((success[0] & (distance > eps + 1e-4)).any())
    exact = distance < eps - 1e-3
    if make in (square.square, apgd.apgd_ce):  # one searches at random, the other goes towards all classes at once
        assert float(success[0][exact].float().mean()) > 0.7
    else:
        assert bool(success[0][exact].all())
