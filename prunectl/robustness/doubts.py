"""Warns about unreliable robust accuracies, with the checks of Carlini et al. 2019 (arXiv:1902.06705).

Checks that need more attacks use a few images.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.robustness.attacks.criterion import wanted
from prunectl.robustness.methods import Method, largest
from prunectl.robustness.network import predict
from prunectl.robustness.tally import Tally

SAMPLE = 64
_NOISE = 0.02
"""Smaller differences between shares of images are not significant."""


def of_network(
    victim: Any,
    maker: Any,
    methods: Sequence[Method],
    levels: Sequence[float],
    images: Tensor,
    labels: Tensor,
    aims: Tensor | None = None,
) -> list[str]:
    """Warnings about a network, and about the attacks on the network on which they are made.

    Images (B, C, H, W) and labels (B,) are spread over the test set; `aims` (B,) are target classes.
    """
    found = []
    with torch.no_grad():
        if not torch.equal(victim(images), victim(images)):
            found.append("the network's outputs differ between two runs: average out its noise before attacking it")
    attacked = predict(maker, images) == labels
    if aims is not None:
        attacked &= aims != labels
    right = attacked.nonzero()[:SAMPLE, 0]
    images, labels, aims = images[right], labels[right], None if aims is None else aims[right]
    if not len(images):
        return found
    zero = _zero_gradients(maker, images, labels)
    if zero:
        more = "" if any("square" in method.name for method in methods) else "; square needs no gradients"
        found.append(
            f"the gradient is zero on {zero:.1%} of {len(images)} images: attacks that follow it fail there, which is "
            f"no robustness{more}"
        )
    for method in methods:
        if _is_cut_short(method) or (
            _iterates(method) and not getattr(method.attack, "targets", 0)  # targeted ones take long and add nothing
        ):
            found += _of_method(method, maker, levels, images, labels, aims)
    return found


def of_results(
    methods: Sequence[Method], total: Tally, levels: Sequence[float], *, cascade: bool, transfer: bool = False
) -> list[str]:
    """Warnings about the results."""
    if not total.attacked:
        return ["nothing to attack: no image that could be attacked is classified correctly"]
    robust = {name: [count / total.images for count in one.robust] for name, one in total.methods.items()}
    blind = [method.name for method in methods if not _iterates(method) and "square" in method.name]
    found = [warning for name, shares in robust.items() for warning in _rising(name, shares, levels)]
    found += _without_adversarials(methods, total)
    if cascade:
        for name in blind if not transfer else []:
            more = max(count / total.images for count in total.methods[name].turned)
            if more > _NOISE:
                found.append(
                    f"{name}, which sees only outputs, breaks {more:.1%} more than the gradient attacks: gradients are "
                    "masked"
                )
        return found
    single = [method.name for method in methods if getattr(method.attack, "steps", None) == 1]
    iterated = [method.name for method in methods if _iterates(method)]
    for one, many in ((one, many) for one in single for many in iterated):
        worse = [eps for eps, a, b in zip(levels, robust[one], robust[many], strict=True) if b > a + _NOISE]
        found += [
            f"{many} leaves more images correct than {one} at eps {eps:g}: many steps should beat one" for eps in worse
        ]
    return found


def _iterates(method: Method) -> bool:
    """Whether an attack of fixed size follows the gradient in several steps."""
    steps = getattr(method.attack, "steps", None)
    return not method.minimal and isinstance(steps, int) and steps > 1


def _is_cut_short(method: Method) -> bool:
    """Whether a search for the nearest adversarial has fewer steps than the default."""
    steps, usual = getattr(method.attack, "steps", None), method.usual_steps
    return method.minimal and isinstance(usual, int) and isinstance(steps, int) and steps < usual


def _without_adversarials(methods: Sequence[Method], total: Tally) -> Iterator[str]:
    """Warn about searches that find nothing: an adversarial image always exists, as images can become any other."""
    for method in methods:
        missed = sum(math.isinf(norm) for norm in total.methods[method.name].norms) if method.minimal else 0
        if missed > _NOISE * total.images:
            yield (
                f"{method.name} finds no adversarial image at any distance for {missed} of {total.images} images, but "
                "one always exists: the attack was cut short or does not converge, so this is no robustness"
            )


def _rising(name: str, shares: Sequence[float], levels: Sequence[float]) -> Iterator[str]:
    """Warn about a robust accuracy that is higher at a larger eps, which is impossible."""
    for e in range(1, len(levels)):
        if shares[e] > shares[e - 1] + _NOISE:
            yield (
                f"{name}: robust accuracy rises from {shares[e - 1]:.1%} at eps {levels[e - 1]:g} to {shares[e]:.1%} "
                f"at {levels[e]:g}: the attack does not converge there"
            )


def _zero_gradients(network: Any, images: Tensor, labels: Tensor) -> float:
    """The share of images whose loss has zero gradient."""
    points = images.clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(network(points), labels, reduction="sum")
    if not loss.requires_grad:
        return 1.0
    (gradient,) = torch.autograd.grad(loss, points)
    return float((gradient.flatten(1) == 0).all(1).float().mean())


def _of_method(
    method: Method, network: Any, levels: Sequence[float], images: Tensor, labels: Tensor, aims: Tensor | None
) -> list[str]:
    """Check that an attack wins at an eps that hides everything, and that more steps do not win more."""

    def standing(attack: Any, eps: float) -> Tensor:
        torch.manual_seed(0)  # the same start for few steps and for many
        points, *_ = replace(method, attack=attack)(network, images, wanted(labels, aims), [eps])
        classes = predict(network, points)
        return classes == labels if aims is None else classes != aims

    found = []
    whole = largest(method.norm, images.shape[1:])
    left = float(standing(method.attack, whole).float().mean())
    if left > _NOISE:
        found.append(f"{method.name}: {left:.0%} stay correct at eps {whole:g}, where an image can become any other")
    longer, eps = copy.copy(method.attack), levels[len(levels) // 2]
    longer.steps = 2 * method.attack.steps
    before, after = standing(method.attack, eps), standing(longer, eps)
    fell, rose = int((before & ~after).sum()), int((after & ~before).sum())
    if fell - rose > 2 * math.sqrt(fell + rose):  # two standard deviations of chance
        found.append(
            f"{method.name}: twice the steps leave {int(after.sum())} of {len(images)} images correct at eps {eps:g}, "
            f"not {int(before.sum())}: it has not converged; use -O steps={longer.steps}"
        )
    return found
