"""Runs all attacks on one batch of images."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prunectl.data.images import mixed
from prunectl.robustness.attacks.criterion import wanted
from prunectl.robustness.examples import Examples
from prunectl.robustness.methods import Method
from prunectl.robustness.network import logits, predict
from prunectl.robustness.progress import Progress
from prunectl.robustness.tally import MethodTally, Tally
from prunectl.torchtools.rng import seed_for


@dataclass(frozen=True)
class Networks:
    """The victim, the network on which adversarials are made, and the one to compare with, or None."""

    victim: Any
    maker: Any
    reference: Any
    name: str
    """The victim's name in errors."""


class Batch:
    """B images at E levels of eps, which become a `Tally`.

    In a cascade every attack begins at the largest eps, and continues at smaller ones with the images that it turned:
    an image that withstands it in a ball is not tried in the smaller balls inside. If adversarials are made on another
    network, this conclusion does not hold, and every level is tried.
    """

    def __init__(
        self,
        networks: Networks,
        images: Tensor,
        labels: Tensor,
        aims: Tensor | None,
        *,
        methods: Sequence[Method],
        levels: Sequence[float],
        cascade: bool,
        seed: tuple[int, int],
        examples: Examples,
        progress: Progress,
    ) -> None:
        self.networks, self.images, self.labels, self.aims = networks, images, labels, aims
        self.methods, self.levels, self.cascade, self.seed = methods, levels, cascade, seed
        self.examples, self.progress = examples, progress
        self.transfer = networks.maker is not networks.victim
        self.logits = logits(networks.victim, images, networks.name)
        self.clean = self.logits.argmax(1)
        self.right = self.clean == labels
        self.attacked = self.right if aims is None else self.right & (aims != labels)
        count = len(levels)
        self.standing = self.attacked.repeat(count, 1)  # (E, B): not turned yet
        self.robust = self.right.repeat(count, 1)  # (E, B): the worst case
        keep = networks.reference is not None or examples.wanted
        self.worst = images.repeat(count, 1, 1, 1, 1) if keep else None  # (E, B, C, H, W)
        self.worst_classes = self.clean.repeat(count, 1)  # (E, B)

    def tally(self) -> Tally:
        """Run all attacks, and count."""
        methods = {method.name: self._method(method) for method in self.methods}
        agree = clean_agree = None
        if self.worst is not None:
            reference = self.networks.reference
            if reference is not None:
                clean_agree = int((predict(reference, self.images) == self.clean).sum())
                theirs = [predict(reference, images) for images in self.worst]
                agree = [int((a == b).sum()) for a, b in zip(self.worst_classes, theirs, strict=True)]
            self.examples.add(self.images, self.worst[-1], self.labels, self.clean, self.worst_classes[-1])
        return Tally(
            images=len(self.images),
            clean=int(self.right.sum()),
            robust=self.robust.sum(1).tolist(),
            turned=(self.attacked & ~self.standing).sum(1).tolist(),
            attacked=int(self.attacked.sum()),
            agree=agree,
            clean_agree=clean_agree,
            methods=methods,
        )

    def _method(self, method: Method) -> MethodTally:
        """One attack at all levels."""
        started = time.perf_counter()
        rows, norms = self._minimal(method) if method.minimal else (self._fixed(method), [])
        tried, turned, robust = (list(column) for column in zip(*rows, strict=True))
        return MethodTally(tried, robust, turned, norms, time.perf_counter() - started)

    def _fixed(self, method: Method) -> list[tuple[int, int, int]]:
        """An attack of given size: the counts of `_note` for every level."""
        rows: dict[int, tuple[int, int, int]] = {}
        inward = self.cascade and not self.transfer
        failed = torch.zeros_like(self.attacked)  # at a larger eps
        order = range(len(self.levels))
        for e in reversed(order) if inward else order:
            self.progress.begin(method.name, method.attack)
            tried = self.standing[e] & ~failed if self.cascade else self.attacked
            (images,) = self._made(method, tried, [self.levels[e]])
            rows[e] = self._note(e, tried, images, predict(self.networks.victim, images))
            if inward:
                failed |= tried & self.standing[e]
        return [rows[e] for e in order]

    def _minimal(self, method: Method) -> tuple[list[tuple[int, int, int]], list[float]]:
        """An attack that searches the nearest adversarials: the counts of `_note` for every level, and the norms."""
        self.progress.begin(method.name, method.attack, len(self.levels))
        tried = self.standing.any(0) if self.cascade else self.attacked
        *found, nearest = self._made(method, tried, self.levels)
        reached = predict(self.networks.victim, nearest)
        least = self._least(method, tried, nearest, reached)
        rows = []
        for e, images in enumerate(found):
            now = tried & self.standing[e] if self.cascade else tried
            here = now[tried]
            cut = here & (images != nearest).flatten(1).any(1)  # pulled into the ball: predicted again
            classes = reached.clone()
            classes[cut] = predict(self.networks.victim, images[cut])
            rows.append(self._note(e, now, images[here], classes[here]))
            if not self.cascade:
                least = torch.minimum(least, self._least(method, tried, images, classes))
        return rows, [] if self.cascade else least.tolist()

    def _least(self, method: Method, tried: Tensor, images: Tensor, classes: Tensor) -> Tensor:
        """The norms of the adversarials that succeed, infinite elsewhere, (tried,)."""
        sizes = method.norms(self.images[tried], images)
        return sizes.where(self._turned(classes, tried), torch.inf)

    def _made(self, method: Method, tried: Tensor, levels: Sequence[float]) -> list[Tensor]:
        """Adversarials of some images, with this batch's own random numbers."""
        images = self.images[tried]
        if not len(images):
            return [images] * (len(levels) + method.minimal)
        seed, index = self.seed
        torch.manual_seed(mixed(seed_for("attack", seed), index))
        aims = None if self.aims is None else self.aims[tried]
        # an image that fools the network it is made on may not fool the other one
        unmet = self.transfer and not method.minimal
        clean = None if self.transfer else self.logits[tried]
        return method(self.networks.maker, images, wanted(self.labels[tried], aims, unmet=unmet, clean=clean), levels)

    def _turned(self, classes: Tensor, tried: Tensor) -> Tensor:
        """Which predictions are the goal of the attack."""
        return classes != self.labels[tried] if self.aims is None else classes == self.aims[tried]

    def _note(self, e: int, tried: Tensor, images: Tensor, classes: Tensor) -> tuple[int, int, int]:
        """Count an attack's results at a level: tried, turned, still correct; in a cascade also at larger levels."""
        at = tried.nonzero()[:, 0]
        wrong = at[classes != self.labels[tried]]
        reached = self._turned(classes, tried)
        turned = at[reached]
        fresh = self.standing[e, turned]
        last = None if self.cascade else e + 1
        if self.worst is not None:
            first, new = turned[fresh], reached.nonzero()[fresh, 0]
            for level in range(e, len(self.levels) if self.cascade else e + 1):
                still = self.standing[level, first]
                self.worst[level, first[still]] = images[new[still]]
                self.worst_classes[level, first[still]] = classes[new[still]]
        self.standing[e:last, turned] = False
        self.robust[e:last, wrong] = False
        left = self.robust[e] if self.cascade else self.right
        return len(at), len(turned), int(left.sum()) - (0 if self.cascade else len(wrong))
