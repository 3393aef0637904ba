"""What foolbox's criteria say, for some of the images of a batch, in torch."""

from typing import Any

from torch import Tensor


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
