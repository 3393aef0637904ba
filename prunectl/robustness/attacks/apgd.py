"""Auto-PGD: projected gradient ascent that needs no step size.

Croce & Hein 2020, *Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks*
(arXiv:2003.01690): the ascent is algorithm 1, the checkpoints are equation 4, the losses equations 6 and 7.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from foolbox.attacks.base import FixedEpsilonAttack
from foolbox.distances import l2, linf
from torch import Tensor, nn

from prunectl.robustness.attacks.criterion import clean_logits, flat, is_adversarial, target_classes

_MOMENTUM = 0.75  # alpha of equation 2
_RISES = 0.75  # rho: the share of steps that must raise the loss, or the step size is halved
_TARGETS = 9
Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (B, classes) of the images at positions (B,) to the value that the attack raises, (B,)."""


def apgd_ce(*, steps: int = 100, restarts: int = 1) -> "Apgd":
    """Raise the cross-entropy, in the max norm."""
    return Apgd(linf, "ce", steps=steps, restarts=restarts)


def apgd_dlr(*, steps: int = 100, restarts: int = 1) -> "Apgd":
    """Raise the DLR loss, the difference of logits ratio (at least 3 classes), in the max norm."""
    return Apgd(linf, "dlr", steps=steps, restarts=restarts)


def apgd_t(*, steps: int = 100, restarts: int = 1, targets: int = _TARGETS) -> "Apgd":
    """Lower the targeted ratio (at least 4 classes) for each of the likeliest wrong classes, in the max norm."""
    return Apgd(linf, "dlr", steps=steps, restarts=restarts, targets=targets)


def l2_apgd_ce(*, steps: int = 100, restarts: int = 1) -> "Apgd":
    """Raise the cross-entropy, in the L2 norm."""
    return Apgd(l2, "ce", steps=steps, restarts=restarts)


def l2_apgd_dlr(*, steps: int = 100, restarts: int = 1) -> "Apgd":
    """Raise the DLR loss, the difference of logits ratio (at least 3 classes), in the L2 norm."""
    return Apgd(l2, "dlr", steps=steps, restarts=restarts)


def l2_apgd_t(*, steps: int = 100, restarts: int = 1, targets: int = _TARGETS) -> "Apgd":
    """Lower the targeted ratio (at least 4 classes) for each of the likeliest wrong classes, in the L2 norm."""
    return Apgd(l2, "dlr", steps=steps, restarts=restarts, targets=targets)


class Apgd(FixedEpsilonAttack):
    """Auto-PGD under a norm; if `targets` is not 0, with that many wrong classes, one after the other.

    An image drops out as soon as an adversarial is found, and is not tried again.
    """

    def __init__(self, distance: Any, loss: str, *, steps: int, restarts: int, targets: int = 0) -> None:
        if min(steps, restarts) < 1 or targets < 0:
            raise ValueError(
                f"steps and restarts must be 1 or more, targets 0 or more, got {steps}, {restarts}, {targets}"
            )
        self._distance, self.loss = distance, loss
        self.steps, self.restarts, self.targets = steps, restarts, targets

    @property
    def distance(self) -> Any:
        """The norm that eps bounds."""
        return self._distance

    def run(self, model: Any, inputs: Any, criterion: Any, *, epsilon: float, **kwargs: Any) -> Any:
        """The best of all tries: images (B, C, H, W) in the ball, adversarial where one was found."""
        images: Tensor = inputs.raw
        best = images.clone()
        standing = torch.arange(len(images), device=images.device)
        for loss in self._tries(model, images, criterion):
            if not len(standing):
                break
            found, broken = self._ascend(model, images[standing], loss, criterion, standing, epsilon)
            best[standing] = found
            standing = standing[~broken]
        return type(inputs)(best)

    def _tries(self, model: Any, images: Tensor, criterion: Any) -> Iterator[Loss]:
        """The loss of every restart and target."""
        wanted = target_classes(criterion)
        if wanted is not None:
            losses = [_towards(self.loss, wanted)]
        elif self.targets:
            labels: Tensor = criterion.labels.raw
            likely = clean_logits(model, images, criterion).argsort(1, descending=True)  # (B, classes)
            wrong = likely[likely != labels[:, None]].view(len(images), -1)[:, : self.targets]
            losses = [_targeted_dlr(labels, column) for column in wrong.T]
        else:
            losses = [_away(self.loss, criterion.labels.raw)]
        yield from losses * self.restarts

    def _ascend(
        self,
        model: Any,
        images: Tensor,
        loss: Loss,
        criterion: Any,
        at: Tensor,
        epsilon: float,
    ) -> tuple[Tensor, Tensor]:
        """Algorithm 1 from a random start: the images found (B, C, H, W), and which of them are adversarial (B,)."""
        geometry = _Linf if self._distance is linf else _L2
        best, broken = images.clone(), torch.zeros(len(images), dtype=torch.bool, device=images.device)
        place = torch.arange(len(images), device=images.device)  # positions in `images` of those still tried

        def look(points: Tensor) -> tuple[Tensor, Tensor]:
            """Loss and gradient at the points; adversarial points are kept."""
            points = points.detach().requires_grad_(True)
            logits = model(points)
            value = loss(logits, at[place])
            (gradient,) = torch.autograd.grad(value.sum(), points)
            hit = is_adversarial(criterion, points, logits, at[place])
            best[place[hit]] = points.detach()[hit]
            broken[place[hit]] = True
            return value.detach(), gradient

        start = geometry.project(images + geometry.random(images, epsilon), images, epsilon)
        now = _Ascent.begin(start, *look(start), step=2 * epsilon)
        for last, checkpoint in _checkpoints(self.steps):
            for k in range(last, checkpoint):
                keep = ~broken[place]
                if not bool(keep.all()):
                    now, place = now.take(keep), place[keep]
                    if not len(place):
                        return best, broken
                now.move_(images[place], epsilon, geometry, first=k == 0, look=look)
            now.judge_(checkpoint - last)
        keep = ~broken[place]
        best[place[keep]] = now.peak[keep]
        return best, broken


@dataclass
class _Ascent:
    """State of the attack on every image of a batch: all (B, ...)."""

    point: Tensor
    before: Tensor
    value: Tensor
    gradient: Tensor
    peak: Tensor
    """The point of the highest loss so far, with its loss and gradient."""
    peak_value: Tensor
    peak_gradient: Tensor
    step: Tensor
    rises: Tensor
    """The number of steps since the last checkpoint that raised the loss."""
    peak_then: Tensor
    """The highest loss at the last checkpoint."""
    halved: Tensor
    """Whether the step size was halved there."""

    @staticmethod
    def begin(point: Tensor, value: Tensor, gradient: Tensor, *, step: float) -> "_Ascent":
        """The state at a first point."""
        return _Ascent(
            point=point,
            before=point,
            value=value,
            gradient=gradient,
            peak=point,
            peak_value=value,
            peak_gradient=gradient,
            step=torch.full_like(value, step),
            rises=torch.zeros_like(value),
            peak_then=value,
            halved=torch.zeros_like(value, dtype=torch.bool),
        )

    def take(self, chosen: Tensor) -> "_Ascent":
        """The state of some of the images."""
        return _Ascent(**{name: tensor[chosen] for name, tensor in vars(self).items()})

    def move_(self, images: Tensor, epsilon: float, geometry: Any, *, first: bool, look: Any) -> None:
        """One step, equation 2: along the gradient, with a share of the previous step."""
        along = geometry.project(
            self.point + flat(self.step) * geometry.direction(self.gradient), images, epsilon
        )  # (B, C, H, W)
        share = 1.0 if first else _MOMENTUM
        moved = self.point + share * (along - self.point) + (1 - share) * (self.point - self.before)
        self.before, self.point = self.point, geometry.project(moved, images, epsilon)
        earlier = self.value
        self.value, self.gradient = look(self.point)
        self.rises = self.rises + (self.value > earlier)
        higher = self.value > self.peak_value
        self.peak = torch.where(flat(higher), self.point, self.peak)
        self.peak_gradient = torch.where(flat(higher), self.gradient, self.peak_gradient)
        self.peak_value = torch.where(higher, self.value, self.peak_value)

    def judge_(self, steps: int) -> None:
        """At a checkpoint: where the last steps did not help, halve the step size and return to the best point."""
        few = self.rises < _RISES * steps
        stuck = ~self.halved & (self.peak_value <= self.peak_then)
        self.halved = few | stuck
        self.step = torch.where(self.halved, self.step / 2, self.step)
        self.point = torch.where(flat(self.halved), self.peak, self.point)
        self.gradient = torch.where(flat(self.halved), self.peak_gradient, self.gradient)
        self.value = torch.where(self.halved, self.peak_value, self.value)
        self.rises, self.peak_then = torch.zeros_like(self.rises), self.peak_value


class _Linf:
    """The ball of the max norm, within [0, 1]."""

    @staticmethod
    def project(points: Tensor, images: Tensor, epsilon: float) -> Tensor:
        return torch.clamp(torch.minimum(torch.maximum(points, images - epsilon), images + epsilon), 0, 1)

    @staticmethod
    def direction(gradient: Tensor) -> Tensor:
        return gradient.sign()

    @staticmethod
    def random(images: Tensor, epsilon: float) -> Tensor:
        return epsilon * (2 * torch.rand_like(images) - 1)


class _L2:
    """The ball of the L2 norm, within [0, 1]."""

    @staticmethod
    def project(points: Tensor, images: Tensor, epsilon: float) -> Tensor:
        moved = points - images
        inside = images + moved * (epsilon / _norms(moved)).clamp(max=1)
        return inside.clamp(0, 1)  # towards the image, which is in [0, 1]: the norm does not grow

    @staticmethod
    def direction(gradient: Tensor) -> Tensor:
        return gradient / _norms(gradient)

    @staticmethod
    def random(images: Tensor, epsilon: float) -> Tensor:
        noise = torch.randn_like(images)
        return epsilon * noise / _norms(noise)


def _norms(tensor: Tensor) -> Tensor:
    """L2 norms (B, 1, 1, 1), never zero."""
    return flat(tensor.flatten(1).norm(dim=1).clamp(min=1e-12))


def _checkpoints(steps: int) -> Iterator[tuple[int, int]]:
    """Equation 4, with the number of steps as the last one: pairs of consecutive checkpoints."""
    before, share, last = 0.0, 0.22, 0
    while last < steps:
        checkpoint = min(max(math.ceil(round(share * steps, 6)), last + 1), steps)
        yield last, checkpoint
        before, share, last = share, share + max(share - before - 0.03, 0.06), checkpoint


def _away(loss: str, labels: Tensor) -> Loss:
    """A loss that is high if the label is not predicted."""
    if loss == "ce":
        return lambda logits, at: nn.functional.cross_entropy(logits, labels[at], reduction="none")
    return lambda logits, at: _margin(logits, labels[at]) / _spread(logits)  # equation 6


def _towards(loss: str, targets: Tensor) -> Loss:
    """A loss that is high if the targets are predicted."""
    if loss == "ce":
        return lambda logits, at: -nn.functional.cross_entropy(logits, targets[at], reduction="none")
    return lambda logits, at: -_margin(logits, targets[at]) / _spread(logits)


def _targeted_dlr(labels: Tensor, targets: Tensor) -> Loss:
    """Equation 7."""

    def loss(logits: Tensor, at: Tensor) -> Tensor:
        ordered = logits.sort(1).values
        spread = (ordered[:, -1] - (ordered[:, -3] + ordered[:, -4]) / 2).clamp(min=1e-12)
        return (_picked(logits, targets[at]) - _picked(logits, labels[at])) / spread

    return loss


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The lead of the best other class over the label, (B,)."""
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return others - _picked(logits, labels)


def _spread(logits: Tensor) -> Tensor:
    """The highest logit minus the third highest, (B,)."""
    ordered = logits.sort(1).values
    return (ordered[:, -1] - ordered[:, -3]).clamp(min=1e-12)


def _picked(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]
