"""What speaks against a robust accuracy is said."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from prunectl.robustness import doubts
from prunectl.robustness.attack import attack
from prunectl.robustness.methods import methods
from prunectl.robustness.tally import MethodTally, Tally
from tests.helpers.networks import checkpoint_of
from tests.helpers.one_pixel import SHAPE, pixels, threshold


def warnings(model: nn.Module, **how: object) -> list[str]:
    """Those of an attack on a network of one pixel, on ten images of each kind."""
    data = pixels()
    many = replace(data, test=data.test.take(torch.arange(40) % 4))
    found: list[str] = attack(checkpoint_of(model, SHAPE, 2), many, **{"attack": "pgd", "eps": [0.2], **how})[
        "warnings"
    ]
    return found


class Noisy(nn.Module):
    """Adds noise to its outputs, also in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = threshold()

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.inner(x)
        return outputs + 0.01 * torch.rand_like(outputs)


class Rounded(nn.Module):
    """A network whose inputs are rounded: it has no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = threshold()

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.inner((x * 8).round() / 8)
        return outputs


def test_a_sound_network_raises_none():
    assert warnings(threshold()) == []


def test_a_stochastic_network():
    assert any("outputs differ between two runs" in text for text in warnings(Noisy()))


def test_zero_gradients_and_what_follows_from_them():
    found = warnings(Rounded(), options={"random_start": "false"})
    assert any("the gradient is zero on 100.0% of 30 images" in text for text in found)
    assert any("pgd: 100% stay correct at eps 1, where an image can become any other" in text for text in found)


def test_too_few_steps():
    found = warnings(threshold(), eps=[0.22], options={"steps": "2", "rel_stepsize": "0.25", "random_start": "false"})
    assert found[-1].startswith("pgd: twice the steps leave 10 of 30 images correct at eps 0.22, not 20: it has not")
    assert found[-1].endswith("use -O steps=4")


def test_a_network_that_is_never_right():
    model = threshold()
    with torch.no_grad():
        model[1].weight.neg_()
    data = pixels()
    kept = type(data)(data.name, data.train, data.test.take(torch.arange(3)), data.classes, data.preprocessing)
    record = attack(checkpoint_of(model, SHAPE, 2), kept, attack="pgd", eps=[0.2])
    assert record["warnings"] == ["nothing to attack: no image that could be attacked is classified correctly"]


def tally(**robust: list[int]) -> Tally:
    """Of 100 images at two levels."""
    made = {name: MethodTally([100, 100], counts, [100 - c for c in counts]) for name, counts in robust.items()}
    return Tally(100, 100, [0, 0], [100, 100], 100, None, None, made)


def test_a_weak_source_says_nothing_against_the_victim():
    record = attack(
        checkpoint_of(threshold(0.9), SHAPE, 2),
        pixels(),
        attack="quick",
        eps=[0.3],
        source=checkpoint_of(threshold(), SHAPE, 2),
    )
    assert record["warnings"] == []


@pytest.mark.parametrize(
    ("names", "robust", "cascade", "warning"),
    [
        (["fgsm"], [[50, 60]], False, "fgsm: robust accuracy rises from 50.0% at eps 0.1 to 60.0% at 0.2"),
        (["fgsm"], [[60, 50]], False, None),
        (["fgsm", "pgd"], [[50, 40], [45, 45]], False, "pgd leaves more images correct than fgsm at eps 0.2"),
        (["fgsm", "pgd"], [[50, 40], [45, 40]], False, None),
        (["square"], [[90, 40]], True, "square, which sees only outputs, breaks 60.0% more than the gradient"),
        (["square"], [[99, 98]], True, None),
    ],
)
def test_numbers_that_contradict_each_other(names, robust, cascade, warning):
    total = tally(**dict(zip(names, robust, strict=True)))
    found = doubts.of_results(methods(names, None, {}, classes=10), total, [0.1, 0.2], cascade=cascade)
    assert [text.startswith(str(warning)) for text in found] == ([True] if warning else [])


CUT_SHORT = {"steps": "1", "binary_search_steps": "1", "stepsize": "1e-6"}


def test_a_search_for_the_nearest_that_was_cut_short():
    found = warnings(threshold(), attack="carlini-wagner", eps=[0.3], options=CUT_SHORT)
    assert any(
        text.startswith("carlini-wagner finds no adversarial image at any distance for 30 of 40 images")
        for text in found
    )
    assert any(text.startswith("carlini-wagner: 100% stay correct at eps 1,") for text in found)


def test_a_search_with_enough_steps_raises_none():
    assert warnings(threshold(), attack="ddn", norm="l2", eps=[0.3], options={"steps": "60"}) == []
