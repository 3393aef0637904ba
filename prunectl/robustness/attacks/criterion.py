"""What foolbox's criteria say, for some of the images of a batch, in torch."""

from typing import Any

from foolbox.criteria import Misclassification, TargetedMisclassification
from torch import Tensor


class UnmetMisclassification(Misclassification):
    """Away from the labels, and never far enough: an attack goes on to its end."""

    def __call__(self, perturbed: Any, outputs: Any) -> Any:
        """Says of none that it is adversarial."""
        found = super().__call__(perturbed, outputs)
        return found != found  # noqa: PLR0124  all false, in torch and in eagerpy


class UnmetTargetedMisclassification(TargetedMisclassification):
    """Towards the target classes, and never near enough."""

    def __call__(self, perturbed: Any, outputs: Any) -> Any:
        """Says of none that it is adversarial."""
        found = super().__call__(perturbed, outputs)
        return found != found  # noqa: PLR0124  all false, in torch and in eagerpy


def wanted(labels: Tensor, aims: Tensor | None = None, *, unmet: bool = False) -> Any:
    """What an attack is to reach: other classes than the labels (B,), or the classes that it aims at (B,)."""
    if aims is None:
        return UnmetMisclassification(labels) if unmet else Misclassification(labels)
    return UnmetTargetedMisclassification(aims) if unmet else TargetedMisclassification(aims)


def target_classes(criterion: Any) -> Tensor | None:
    """The classes that a targeted attack aims at, (B,); None for an attack that only leads away from the labels."""
    targets: Any = getattr(criterion, "target_classes", None)
    return None if targets is None else targets.raw


def is_adversarial(criterion: Any, points: Tensor, logits: Tensor, at: Tensor) -> Tensor:
    """Which of the points (B, ...), the images at positions `at` of the criterion's batch, are adversarial: (B,)."""
    targets = target_classes(criterion)
    classes = criterion.labels.raw if targets is None else targets
    here = type(criterion)(classes[at])
    found: Tensor = here(points.detach(), logits.detach())
    return found


def flat(values: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1), to stand beside images."""
    return values.view(-1, 1, 1, 1)
