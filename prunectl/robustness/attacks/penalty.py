"""Nearest adversarials by a penalty: minimises the squared distance plus a constant times the label's lead.

Carlini & Wagner 2017 (arXiv:1608.04644) for L2, and EAD, Chen et al. 2018 (arXiv:1709.04114), whose elastic net is
for L1. Foolbox's versions take thousands of steps for every constant, on all images until the slowest is done. Here
an image leaves a search as soon as it makes no progress, its first constant fits its slope, and the steps of Adam
become smaller. Options have foolbox's names; steps=10000, binary_search_steps=9, initial_const=0.001 are its defaults.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from foolbox.attacks.base import MinimizationAttack
from foolbox.distances import l1, l2
from torch import Tensor

from prunectl.robustness.attacks.criterion import is_adversarial, target_classes, wanted_classes

_CHECKS = 10
"""Steps between two checks of an image's progress."""
_PROGRESS = 1e-3
"""The share by which the loss must fall between two checks for the image to stay in the search."""
_HALVINGS = 8
"""The number of halvings of the way to an adversarial at the end."""
_ADAM = (0.9, 0.999, 1e-8)


def carlini_wagner(
    *,
    binary_search_steps: int = 4,
    steps: int = 150,
    stepsize: float = 0.05,
    confidence: float = 0.0,
    initial_const: float | None = None,
    abort_early: bool = True,
) -> "CarliniWagner":
    """The nearest adversarial images in L2, by Adam; without `initial_const`, it is fitted to each image."""
    return CarliniWagner(
        binary_search_steps=binary_search_steps,
        steps=steps,
        stepsize=stepsize,
        confidence=confidence,
        initial_const=initial_const,
        abort_early=abort_early,
    )


def ead(
    *,
    binary_search_steps: int = 5,
    steps: int = 200,
    initial_stepsize: float = 0.01,
    confidence: float = 0.0,
    initial_const: float | None = None,
    regularization: float = 0.01,
    decision_rule: str = "L1",
    abort_early: bool = True,
) -> "Ead":
    """The nearest adversarials in L1, or in the elastic net with `decision_rule=EN`, by shrinkage and thresholding."""
    if decision_rule not in ("EN", "L1"):
        raise ValueError(f"decision_rule must be EN or L1, got {decision_rule}")
    made = Ead(
        binary_search_steps=binary_search_steps,
        steps=steps,
        stepsize=initial_stepsize,
        confidence=confidence,
        initial_const=initial_const,
        abort_early=abort_early,
    )
    made.regularization, made.decision_rule = regularization, decision_rule
    return made


@dataclass
class _Nearest:
    """The nearest adversarials so far (B, C, H, W), and their sizes (B,), infinite if there is none."""

    points: Tensor
    sizes: Tensor

    def take_(self, at: Tensor, points: Tensor, sizes: Tensor, hit: Tensor) -> None:
        """Keep the points that hit and are nearer, for images at positions `at`."""
        nearer = hit & (sizes < self.sizes[at])
        self.points[at[nearer]], self.sizes[at[nearer]] = points[nearer], sizes[nearer]


@dataclass
class _Problem:
    """The minimisation problem for every image of a batch."""

    model: Any
    images: Tensor
    criterion: Any
    confidence: float

    def outputs(self, points: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """How far the points are from success (B,), 0 or more, and which are adversarial (B,), at the confidence."""
        logits = self.model(points)
        targets = target_classes(self.criterion)
        classes = wanted_classes(self.criterion)[at]
        sure = self.confidence if targets is None else -self.confidence
        others = logits.detach().scatter(1, classes[:, None], -torch.inf).argmax(1)
        lead = _picked(logits, classes) - _picked(logits, others)
        missed = ((lead if targets is None else -lead) + self.confidence).clamp(min=0)
        shifted = logits.detach().clone()
        shifted[torch.arange(len(at), device=at.device), classes] += sure
        return missed, is_adversarial(self.criterion, points, shifted, at)

    def slopes(self) -> tuple[Tensor, Tensor]:
        """The distance of the images from success (B,), and its gradient (B, C * H * W)."""
        points = self.images.clone().requires_grad_(True)
        missed, _ = self.outputs(points, torch.arange(len(points), device=points.device))
        (slope,) = torch.autograd.grad(missed.sum(), points)
        return missed.detach(), slope.flatten(1)


class _Search(MinimizationAttack):
    """Foolbox's binary search over the constant: ten times as large until an adversarial is found, then halfway."""

    def __init__(
        self,
        *,
        binary_search_steps: int,
        steps: int,
        stepsize: float,
        confidence: float,
        initial_const: float | None,
        abort_early: bool,
    ) -> None:
        self.binary_search_steps, self.steps, self.stepsize = binary_search_steps, steps, stepsize
        self.confidence, self.initial_const, self.abort_early = confidence, initial_const, abort_early

    def run(self, model: Any, inputs: Any, criterion: Any, *, early_stop: float | None = None, **kwargs: Any) -> Any:
        """The nearest adversarials (B, C, H, W), or the image itself if none was found."""
        images: Tensor = inputs.raw
        problem = _Problem(model, images, criterion, self.confidence)
        nearest = _Nearest(images.clone(), images.new_full((len(images),), torch.inf))
        first = self.initial_const
        constants = self._fitting(*problem.slopes()).clamp(1e-4, 1e4)
        if first is not None:
            constants = torch.full_like(constants, first)
        lower, upper = torch.zeros_like(constants), torch.full_like(constants, torch.inf)
        for _ in range(self.binary_search_steps):
            found = self._minimised(problem, constants, nearest)
            upper, lower = torch.where(found, constants, upper), torch.where(found, lower, constants)
            constants = torch.where(upper.isinf(), 10 * constants, (lower + upper) / 2)
        self._draw_near(problem, nearest)
        return type(inputs)(nearest.points)

    def _draw_near(self, problem: _Problem, nearest: _Nearest) -> None:
        """Move the adversarials to the decision border, by halving the way to the images."""
        at = nearest.sizes.isfinite().nonzero()[:, 0]
        if not len(at):
            return
        origin, change = problem.images[at], nearest.points[at] - problem.images[at]
        least, most = torch.zeros_like(nearest.sizes[at]), torch.ones_like(nearest.sizes[at])
        for _ in range(_HALVINGS):
            share = (least + most) / 2
            points = origin + share.view(-1, 1, 1, 1) * change
            with torch.no_grad():
                _, hit = problem.outputs(points, at)
            nearest.take_(at, points, self._size(points - origin), hit)
            least, most = torch.where(hit, least, share), torch.where(hit, share, most)

    def _minimised(self, problem: _Problem, constants: Tensor, nearest: _Nearest) -> Tensor:
        """Search with constants (B,), starting at the images; returns where an adversarial was found (B,)."""
        found = torch.zeros_like(constants, dtype=torch.bool)
        place = torch.arange(len(constants), device=constants.device)
        state = self._begin(problem.images)
        every, least, then = -(-self.steps // _CHECKS), torch.full_like(constants, torch.inf), None
        for step in range(self.steps):
            loss, hit = self._step_(state, problem, step, place, constants[place], nearest)
            found[place[hit]] = True
            least[place] = torch.minimum(least[place], loss)
            if not self.abort_early or step % every:
                continue
            now = least[place]
            if then is not None:
                keep = now <= (1 - _PROGRESS) * then
                place, now = place[keep], now[keep]
                state = {name: tensor[keep] for name, tensor in state.items()}
                if not len(place):
                    break
            then = now
        return found

    @abstractmethod
    def _fitting(self, missed: Tensor, slopes: Tensor) -> Tensor:
        """The constants (B,) with which a linear network with these slopes (B, pixels) would just be turned."""

    @abstractmethod
    def _size(self, change: Tensor) -> Tensor:
        """The minimised size of changes (B, C, H, W): (B,)."""

    @abstractmethod
    def _begin(self, images: Tensor) -> dict[str, Tensor]:
        """The state of a search for every image: tensors (B, ...)."""

    @abstractmethod
    def _step_(
        self, state: dict[str, Tensor], problem: _Problem, step: int, at: Tensor, constants: Tensor, nearest: _Nearest
    ) -> tuple[Tensor, Tensor]:
        """One step for images at positions `at`: the loss before it (B,), and where an adversarial was seen (B,)."""


class CarliniWagner(_Search):
    """The attack in L2; images are hyperbolic tangents, so that they stay within [0, 1]."""

    distance = l2

    def _fitting(self, missed: Tensor, slopes: Tensor) -> Tensor:
        """The gradient of the squared distance at the border over the slope: 2 lead / |slope|^2."""
        return 2 * missed / slopes.square().sum(1).clamp(min=1e-12)

    def _size(self, change: Tensor) -> Tensor:
        return change.flatten(1).square().sum(1).sqrt()

    def _begin(self, images: Tensor) -> dict[str, Tensor]:
        base = ((2 * images - 1) * 0.999999).atanh()
        zero = torch.zeros_like(images)
        return {"base": base, "delta": zero, "mean": zero, "square": zero}

    def _step_(
        self, state: dict[str, Tensor], problem: _Problem, step: int, at: Tensor, constants: Tensor, nearest: _Nearest
    ) -> tuple[Tensor, Tensor]:
        delta = state["delta"].detach().requires_grad_(True)
        points = _pixels(state["base"] + delta)
        missed, hit = problem.outputs(points, at)
        loss = constants * missed + (points - _pixels(state["base"])).flatten(1).square().sum(1)
        (gradient,) = torch.autograd.grad(loss.sum(), delta)
        size = self.stepsize * (1 - step / self.steps)  # constant steps would circle around the nearest point
        state["delta"] = delta.detach() - size * _adam(state, gradient, step + 1)
        seen = points.detach()
        nearest.take_(at, seen, self._size(seen - problem.images[at]), hit)
        return loss.detach(), hit


class Ead(_Search):
    """The attack in L1, with the accelerated shrinkage and thresholding of its paper."""

    distance = l1
    regularization = 0.01
    decision_rule = "L1"

    def _fitting(self, missed: Tensor, slopes: Tensor) -> Tensor:
        """The constants that move only the steepest pixel; a threshold per step weighs L1 by threshold / stepsize."""
        steepest = slopes.abs().amax(1).clamp(min=1e-12)
        return (self.regularization / self.stepsize + 2 * missed / steepest) / steepest

    def _size(self, change: Tensor) -> Tensor:
        moved = change.flatten(1)
        if self.decision_rule == "L1":
            return moved.abs().sum(1)
        return self.regularization * moved.abs().sum(1) + moved.square().sum(1)

    def _begin(self, images: Tensor) -> dict[str, Tensor]:
        return {"point": images, "ahead": images}

    def _step_(
        self, state: dict[str, Tensor], problem: _Problem, step: int, at: Tensor, constants: Tensor, nearest: _Nearest
    ) -> tuple[Tensor, Tensor]:
        images = problem.images[at]
        ahead = state["ahead"].detach().requires_grad_(True)
        missed, _ = problem.outputs(ahead, at)
        loss = constants * missed + (ahead - images).flatten(1).square().sum(1)
        (gradient,) = torch.autograd.grad(loss.sum(), ahead)
        size = self.stepsize * (1 - step / self.steps) ** 0.5
        change = ahead.detach() - size * gradient - images
        shrunk = change.sign() * (change.abs() - self.regularization).clamp(min=0)
        point = (images + shrunk).clamp(0, 1)
        state["ahead"] = point + step / (step + 3) * (point - state["point"])
        state["point"] = point
        with torch.no_grad():
            _, hit = problem.outputs(point, at)
        nearest.take_(at, point, self._size(point - images), hit)
        return loss.detach(), hit


def _pixels(points: Tensor) -> Tensor:
    """Map all numbers to [0, 1]."""
    return (points.tanh() + 1) / 2


def _adam(state: dict[str, Tensor], gradient: Tensor, step: int) -> Tensor:
    """Adam's direction; its averages are in the state."""
    one, two, least = _ADAM
    state["mean"] = one * state["mean"] + (1 - one) * gradient
    state["square"] = two * state["square"] + (1 - two) * gradient.square()
    return (state["mean"] / (1 - one**step)) / ((state["square"] / (1 - two**step)).sqrt() + least)


def _picked(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]
