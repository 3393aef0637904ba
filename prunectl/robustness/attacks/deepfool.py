"""DeepFool (Moosavi-Dezfooli et al. 2016, arXiv:1511.04599) with foolbox's steps, where images drop out one by one.

Foolbox computes all gradients for every image until the last one is adversarial, with a forward pass per class.
"""

from typing import Any

import torch
from eagerpy.astensor import astensor
from foolbox.attacks.deepfool import L2DeepFoolAttack, LinfDeepFoolAttack
from torch import Tensor

from prunectl.robustness.attacks.criterion import clean_logits, is_adversarial


def deepfool(*, steps: int = 50, candidates: int = 10, overshoot: float = 0.02) -> "L2DeepFool":
    """The nearest adversarials in L2, towards the likeliest of `candidates` classes."""
    return L2DeepFool(steps=steps, candidates=candidates, overshoot=overshoot)


def linf_deepfool(*, steps: int = 50, candidates: int = 10, overshoot: float = 0.02) -> "LinfDeepFool":
    """The nearest adversarials in the max norm, towards the likeliest of `candidates` classes."""
    return LinfDeepFool(steps=steps, candidates=candidates, overshoot=overshoot)


class _Leaving:
    """Foolbox's DeepFool, run only on images that are not adversarial yet."""

    steps: int
    candidates: int | None
    overshoot: float
    get_distances: Any
    get_perturbations: Any

    def run(self, model: Any, inputs: Any, criterion: Any, *, early_stop: float | None = None, **kwargs: Any) -> Any:
        """The first adversarial of each image (B, C, H, W), else its last point."""
        images: Tensor = inputs.raw
        found, place = images.clone(), torch.arange(len(images), device=images.device)
        moved = torch.zeros_like(images)
        likely = clean_logits(model, images, criterion).argsort(1, descending=True)
        classes = likely[:, : self.candidates]  # (B, candidates)
        for _ in range(self.steps):
            points, logits = _asked(model, found[place])
            hit = is_adversarial(criterion, points, logits, place)
            if bool(hit.any()):
                place, moved, classes = place[~hit], moved[~hit], classes[~hit]
                if not len(place):
                    break
                points, logits = _asked(model, found[place])
            moved = moved + self._step(points, logits, classes)
            found[place] = (images[place] + (1 + self.overshoot) * moved).clamp(0, 1)
        return type(inputs)(found)

    def _step(self, points: Tensor, logits: Tensor, classes: Tensor) -> Tensor:
        """The shortest step to a decision boundary of the network linearised at the points, (B, C, H, W)."""
        leads = logits.gather(1, classes[:, 1:]) - logits.gather(1, classes[:, :1])  # (B, candidates - 1)
        last = leads.shape[1] - 1
        slopes = [torch.autograd.grad(leads[:, k].sum(), points, retain_graph=k < last)[0] for k in range(last + 1)]
        gradients = torch.stack(slopes, 1)  # (B, candidates - 1, C, H, W)
        ways = self.get_distances(astensor(leads.detach()), astensor(gradients)).raw
        rows, best = torch.arange(len(points), device=points.device), ways.argmin(1)
        step = self.get_perturbations(astensor(ways[rows, best] + 1e-4), astensor(gradients[rows, best]))
        return step.raw  # type: ignore[no-any-return]


class L2DeepFool(_Leaving, L2DeepFoolAttack):
    """DeepFool in the L2 norm."""


class LinfDeepFool(_Leaving, LinfDeepFoolAttack):
    """DeepFool in the max norm."""


def _asked(model: Any, points: Tensor) -> tuple[Tensor, Tensor]:
    """The points (B, C, H, W), and their logits (B, classes), for gradients."""
    points = points.detach().requires_grad_(True)
    return points, model(points)
