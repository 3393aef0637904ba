"""Evaluates foolbox's criteria for some of the images of a batch, in torch."""

from typing import Any

import torch
from foolbox.criteria import Misclassification, TargetedMisclassification
from torch import Tensor


class UnmetMisclassification(Misclassification):
    """Misclassification that never counts as reached, so that an attack runs to its end."""

    def __call__(self, perturbed: Any, outputs: Any) -> Any:
        """Reports no point as adversarial."""
        found = super().__call__(perturbed, outputs)
        return found != found  # noqa: PLR0124  all false, in torch and in eagerpy


class UnmetTargetedMisclassification(TargetedMisclassification):
    """Targeted misclassification that never counts as reached."""

    def __call__(self, perturbed: Any, outputs: Any) -> Any:
        """Reports no point as adversarial."""
        found = super().__call__(perturbed, outputs)
        return found != found  # noqa: PLR0124  all false, in torch and in eagerpy


def wanted(labels: Tensor, aims: Tensor | None = None, *, unmet: bool = False, clean: Tensor | None = None) -> Any:
    """The goal of an attack: classes other than the labels (B,), or the classes that it aims at (B,).

    `clean` (B, classes) are the outputs of the attacked network on the images, if known.
    """
    if aims is None:
        made: Any = UnmetMisclassification(labels) if unmet else Misclassification(labels)
    else:
        made = UnmetTargetedMisclassification(aims) if unmet else TargetedMisclassification(aims)
    made.clean = clean
    return made


def clean_logits(model: Any, images: Tensor, criterion: Any) -> Tensor:
    """The outputs (B, classes) on the criterion's images; from the model if the criterion has none."""
    known: Tensor | None = getattr(criterion, "clean", None)
    if known is not None:
        return known
    with torch.no_grad():
        found: Tensor = model(images)
    return found


def target_classes(criterion: Any) -> Tensor | None:
    """The classes that a targeted attack aims at, (B,); None for an untargeted attack."""
    targets: Any = getattr(criterion, "target_classes", None)
    return None if targets is None else targets.raw


def is_adversarial(criterion: Any, points: Tensor, logits: Tensor, at: Tensor) -> Tensor:
    """Which of the points (B, ...), at positions `at` of the criterion's batch, are adversarial: (B,)."""
    found: Tensor = chosen(criterion, at)(points.detach(), logits.detach())
    return found


def chosen(criterion: Any, at: Tensor) -> Any:
    """The criterion for only the images at positions `at` of its batch."""
    return type(criterion)(wanted_classes(criterion)[at])


def wanted_classes(criterion: Any) -> Tensor:
    """The classes that an attack aims at, else the labels that it leads away from, (B,)."""
    targets = target_classes(criterion)
    classes: Tensor = criterion.labels.raw if targets is None else targets
    return classes


def flat(values: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1), to be broadcast over images."""
    return values.view(-1, 1, 1, 1)
