"""Runs foolbox's gradient descents and repeated draws; every image drops out as soon as it is adversarial."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from prunectl.robustness.attacks.criterion import chosen, is_adversarial, target_classes, wanted_classes

_SLACK = 1 + 1e-4
"""The factor that rounding may add to the size of a point in the ball."""


def shortened(attack: Any) -> Callable[[Any, Tensor, Any, float], Tensor] | None:
    """A foolbox attack with early exits: a function of (network, images, criterion, eps), or None."""
    from foolbox.attacks.additive_noise import BaseRepeatedAdditiveNoiseAttack  # noqa: PLC0415
    from foolbox.attacks.gradient_descent_base import BaseGradientDescent  # noqa: PLC0415

    for kind, run in ((BaseGradientDescent, _descended), (BaseRepeatedAdditiveNoiseAttack, _drawn)):
        # an attack with its own loop keeps it
        if isinstance(attack, kind) and type(attack).run is kind.run:
            return lambda network, images, criterion, eps: run(attack, network, images, criterion, eps)
    return None


def _descended(attack: Any, network: Any, images: Tensor, criterion: Any, epsilon: float) -> Tensor:
    """The steps of `BaseGradientDescent.run`: every image's first adversarial, else its last point (B, C, H, W)."""
    from eagerpy.astensor import astensor  # noqa: PLC0415

    classes, sign = wanted_classes(criterion), 1.0 if target_classes(criterion) is None else -1.0
    outputs = _Outputs(network)
    origin = astensor(images)
    optimizer = attack.get_optimizer(
        origin, attack.rel_stepsize * epsilon if attack.abs_stepsize is None else attack.abs_stepsize
    )
    found, place = images.clone(), torch.arange(len(images), device=images.device)
    point = attack.get_random_start(origin, epsilon) if attack.random_start else origin
    point = point.clip(*network.bounds)
    for _ in range(attack.steps):
        loss = attack.get_loss_fn(outputs, astensor(classes[place]))
        _, gradient = attack.value_and_grad(loss, point)
        inside = attack.distance(origin, point).raw <= epsilon * _SLACK  # foolbox's L1 projection may end outside
        hit = is_adversarial(criterion, point.raw, outputs.last, place) & inside
        if bool(hit.any()):
            found[place[hit]] = point.raw[hit]
            keep = astensor(~hit)
            _narrow(optimizer, keep)
            place, point, origin, gradient = place[~hit], point[keep], origin[keep], gradient[keep]
            if not len(place):
                return found
        direction = attack.normalize(gradient, x=point, bounds=network.bounds)
        point = attack.project(point + sign * optimizer(direction), origin, epsilon).clip(*network.bounds)
    found[place] = point.raw
    return found


class _Outputs:
    """A network that stores its last outputs: the loss pass of a step also tells which images are adversarial."""

    def __init__(self, network: Any) -> None:
        self.network, self.bounds = network, network.bounds
        self.last: Tensor

    def __call__(self, inputs: Any) -> Any:
        outputs = self.network(inputs)
        self.last = getattr(outputs, "raw", outputs).detach()
        return outputs


def _narrow(optimizer: Any, keep: Any) -> None:
    """Keep an optimiser's running averages of only the remaining images."""
    for name, value in vars(optimizer).items():
        if getattr(value, "shape", ())[:1] == keep.shape:
            setattr(optimizer, name, value[keep])


def _drawn(attack: Any, network: Any, images: Tensor, criterion: Any, epsilon: float) -> Tensor:
    """Draw noise `repeats` times, each time for the images that no draw has turned (B, C, H, W)."""
    from eagerpy.astensor import astensor  # noqa: PLC0415

    found, place = images.clone(), torch.arange(len(images), device=images.device)
    once = copy.copy(attack)
    once.repeats, once.check_trivial = 1, False
    for _ in range(attack.repeats):
        inputs = images[place]
        drawn = once.run(network, astensor(inputs), chosen(criterion, place), epsilon=epsilon).raw
        hit = (drawn != inputs).flatten(1).any(1)  # noise that does not turn an image is not returned
        found[place[hit]], place = drawn[hit], place[~hit]
        if not len(place):
            break
    return found
