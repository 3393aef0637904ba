"""attack: how a network holds against adversarial images."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.images import ImageData, mixed
from prunectl.errors import DataError, OptionError
from prunectl.plugins.registry import PRESETS
from prunectl.robustness import doubts
from prunectl.robustness.attacks.criterion import wanted
from prunectl.robustness.examples import Examples
from prunectl.robustness.methods import Method, levels, methods
from prunectl.robustness.network import logits, opened, predict
from prunectl.robustness.tally import MethodTally, Tally
from prunectl.torchtools.rng import forked, seed_for

Report = Callable[[int, int, list[float]], None]
"""Called after each batch with (images done, images, robust accuracy so far for each eps)."""


def attack(
    checkpoint: Checkpoint,
    data: ImageData,
    *,
    attack: str = "pgd",
    eps: Sequence[float] | None = None,
    report: Report | None = None,
    **how: Any,
) -> dict[str, Any]:
    """Attack the test images, in batches, at every eps: one record. `how` is as `Attacker` has it.

    Raises:
        UnknownName, OptionError: no such attack or option, an eps outside the range of its norm.
        DataError: the images do not fit the network, or there are none.
        CheckpointError: the network gives NaN.
    """
    attacker = Attacker(checkpoint, data, attack=attack, eps=eps, **how)
    for _, total in attacker.batches():
        if report is not None:
            report(total.images, len(attacker.images), [robust / total.images for robust in total.robust])
    return attacker.record()


class Attacker:
    """An attack that yields after every batch, so that whoever runs it can watch, stop and save it.

    Images are in [0, 1] and eps (in that unit) bounds the attacks' norm; the normalisation is part of the network.
    Robust accuracy is measured on adversarials within the ball, over ALL images: one that is wrong without an attack
    counts as wrong, and is not attacked; `success` is the share of the attacked images that are turned.

    `attack` is one name, several (`fgsm,pgd`: each on every image), or a preset, whose attacks go on with what still
    stands at an eps. The worst case is taken image by image. `target` is a class, `next` or `random`. `reference` is a
    network whose predictions are compared. Adversarials are made on `source` where there is one: transfer.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        data: ImageData,
        *,
        attack: str = "pgd",
        eps: Sequence[float] | None = None,
        norm: str | None = None,
        options: Mapping[str, str] | None = None,
        target: str | None = None,
        reference: Checkpoint | None = None,
        source: Checkpoint | None = None,
        n: int | None = None,
        batch_size: int = 256,
        seed: int = 0,
        examples: int = 0,
    ) -> None:
        for network in (checkpoint, reference, source):
            if network is not None:
                data.check_fits(network.spec.input, network.spec.classes, network.spec.name)
                network.check_held_out(data)
        self.checkpoint, self.data, self.reference, self.source = checkpoint, data, reference, source
        self.name, self.options = attack, dict(options or {})
        self.cascade = attack in PRESETS
        classes = checkpoint.spec.classes
        self.methods = methods(attack.split(","), norm, self.options, classes=classes, targeted=target is not None)
        self.levels = levels(eps, self.methods[0].norm, checkpoint.spec.input)
        self.target, self.aim = target, _aim(target, data.classes)
        self.images = data.test
        if n is not None:  # spread evenly: a folder is sorted by class
            count = min(n, len(data.test))
            self.images = data.test.take(torch.arange(count) * len(data.test) // max(count, 1))
        if not len(self.images):
            raise DataError(f"{data.name} has no test images to attack; give other `data`, or a larger `n`")
        self.batch_size, self.seed = batch_size, seed
        self.total: Tally | None = None
        self.warnings: list[str] = []
        self.examples = Examples(examples)

    def batches(self, done: Sequence[Tally] = ()) -> Generator[tuple[Tally, Tally]]:
        """Attack batch by batch, after those that are done; yields each one's counts and the total so far.

        Between two batches the networks are in eval mode and without gradients; at the end, or on `close`, as before.
        """
        self.total = Tally.sum(done) if done else None
        device = self.checkpoint.device
        others = [network for network in (self.source, self.reference) if network is not None]
        with opened(self.checkpoint, *others) as networks, forked(device):
            victim, rest = networks[0], networks[1:]
            maker = rest.pop(0) if self.source is not None else victim
            reference = rest.pop(0) if self.reference is not None else None
            for i, (pixels, labels) in enumerate(self.images.batches(self.batch_size)):
                started = time.perf_counter()
                if i == 0:
                    self.warnings = doubts.of_network(victim, maker, self.methods, self.levels, *self._sample())
                if i < len(done):
                    continue
                inputs, here = pixels.to(device).float() / 255, labels.to(device)
                batch = _Batch(self, i, victim, maker, reference, inputs, here)
                part = replace(batch.tally(), seconds=time.perf_counter() - started)
                self.total = part if self.total is None else self.total.plus(part)
                yield part, self.total

    def record(self) -> dict[str, Any]:
        """What was measured on the batches so far; there is at least one."""
        total = self.total
        assert total is not None
        results = total.results(self.levels)
        medians = {} if self.source is not None else total.medians()
        return {
            "attack": self.name,
            "attacks": [method.name for method in self.methods],
            "norm": self.methods[0].norm,
            "options": self.options,
            "data": self.data.described,
            "images": total.images,
            "test_images": len(self.data.test),
            "seed": self.seed,
            "clean_accuracy": total.clean / total.images,
            **({} if self.target is None else {"target": self.target, "attacked": total.attacked}),
            **({} if self.source is None else {"source": self.source.sha256}),
            **({} if self.reference is None else {"reference": self.reference.sha256}),
            **({} if total.clean_agree is None else {"agreement": total.clean_agree / total.images}),
            "results": results,
            **({"median_norm": medians} if medians else {}),
            "attack_seconds": {name: one.seconds for name, one in total.methods.items()},
            "warnings": [
                *self.checkpoint.doubts_of(self.data),
                *self.warnings,
                *doubts.of_results(
                    self.methods, total, self.levels, cascade=self.cascade, transfer=self.source is not None
                ),
            ],
            "seconds": total.seconds,
            "device": str(self.checkpoint.device),
        }

    def _sample(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """A few images (B, C, H, W) from all over the set, their labels (B,), and the classes to aim at (B,)."""
        count = min(2 * doubts.SAMPLE, len(self.images))
        spread = self.images.take(torch.arange(count) * len(self.images) // count)
        pixels, labels = next(iter(spread.batches(count)))
        here = labels.to(self.checkpoint.device)
        aims = None if self.aim is None else self.aim(here, mixed(self.seed, 0))
        return pixels.to(self.checkpoint.device).float() / 255, here, aims


class _Batch:
    """One batch under all attacks; E levels, B images."""

    def __init__(
        self, run: Attacker, index: int, victim: Any, maker: Any, reference: Any, images: Tensor, labels: Tensor
    ) -> None:
        self.run, self.index = run, index
        self.victim, self.maker, self.reference = victim, maker, reference
        self.images, self.labels = images, labels
        self.clean = logits(victim, images, run.checkpoint.spec.name).argmax(1)
        self.right = self.clean == labels
        self.aims = None if run.aim is None else run.aim(labels, mixed(run.seed, index))
        self.attacked = self.right if self.aims is None else self.right & (self.aims != labels)
        count = len(run.levels)
        self.standing = self.attacked.repeat(count, 1)  # (E, B): not turned yet
        self.robust = self.right.repeat(count, 1)  # (E, B): the worst case
        keep = reference is not None or run.examples.wanted
        self.worst = images.repeat(count, 1, 1, 1, 1) if keep else None  # (E, B, C, H, W)

    def tally(self) -> Tally:
        """Run all attacks, and count."""
        methods = {method.name: self._method(method) for method in self.run.methods}
        agree = clean_agree = None
        if self.worst is not None:
            found = [predict(self.victim, images) for images in self.worst]
            if self.reference is not None:
                clean_agree = int((predict(self.reference, self.images) == self.clean).sum())
                theirs = [predict(self.reference, images) for images in self.worst]
                agree = [int((a == b).sum()) for a, b in zip(found, theirs, strict=True)]
            self.run.examples.add(self.images, self.worst[-1], self.labels, self.clean, found[-1])
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
        levels, norms = self.run.levels, []
        tally = MethodTally([], [], [])
        if method.minimal:
            tried = self.standing.any(0) if self.run.cascade else self.attacked
            *found, nearest = self._made(method, tried, levels)
            for e, images in enumerate(found):
                now = tried & self.standing[e] if self.run.cascade else tried
                self._note(tally, e, now, images[now[tried]])
            if not self.run.cascade:
                norms = self._least(method, tried, [*found, nearest])
        else:
            for e, eps in enumerate(levels):
                tried = self.standing[e].clone() if self.run.cascade else self.attacked
                (images,) = self._made(method, tried, [eps])
                self._note(tally, e, tried, images)
        tally.norms, tally.seconds = norms, time.perf_counter() - started
        return tally

    def _least(self, method: Method, tried: Tensor, found: Sequence[Tensor]) -> list[float]:
        """The norm of the nearest of several candidates that reach what they should, infinite where none does."""
        least = torch.full((int(tried.sum()),), torch.inf, device=self.images.device)
        for images in found:
            turned = self._turned(predict(self.victim, images), tried)
            sizes = method.norms(self.images[tried], images)
            least = torch.where(turned, torch.minimum(least, sizes), least)
        return least.tolist()

    def _made(self, method: Method, tried: Tensor, levels: Sequence[float]) -> list[Tensor]:
        """Adversarials of some images, with random numbers of this batch's own."""
        images = self.images[tried]
        if not len(images):
            return [images] * (len(levels) + method.minimal)
        torch.manual_seed(mixed(seed_for("attack", self.run.seed), self.index))
        aims = None if self.aims is None else self.aims[tried]
        # what fools the network that it is made on may not be enough for the other one
        unmet = self.run.source is not None and not method.minimal
        return method(self.maker, images, wanted(self.labels[tried], aims, unmet=unmet), levels)

    def _turned(self, classes: Tensor, tried: Tensor) -> Tensor:
        """Which predictions are what the attack was to reach."""
        return classes != self.labels[tried] if self.aims is None else classes == self.aims[tried]

    def _note(self, tally: MethodTally, e: int, tried: Tensor, images: Tensor) -> None:
        """Count what an attack reached at a level; in a cascade it holds at all larger ones too."""
        classes = predict(self.victim, images)
        at = tried.nonzero()[:, 0]
        wrong = at[classes != self.labels[tried]]
        turned = at[self._turned(classes, tried)]
        fresh = self.standing[e, turned]
        last = None if self.run.cascade else e + 1
        self.standing[e:last, turned] = False
        self.robust[e:last, wrong] = False
        if self.worst is not None:
            self.worst[e:last, turned[fresh]] = images[self._turned(classes, tried)][fresh]
        tally.tried.append(len(at))
        tally.turned.append(len(turned))
        left = self.robust[e] if self.run.cascade else self.right
        tally.robust.append(int(left.sum()) - (0 if self.run.cascade else len(wrong)))


def _aim(target: str | None, classes: tuple[str, ...]) -> Callable[[Tensor, int], Tensor] | None:
    """What gives the target classes (B,) of labels (B,) and a seed.

    Raises:
        OptionError: the target is no class.
    """
    if target is None:
        return None
    count = len(classes)
    if target == "next":
        return lambda labels, seed: (labels + 1) % count
    if target == "random":

        def drawn(labels: Tensor, seed: int) -> Tensor:
            generator = torch.Generator().manual_seed(seed % 2**63)
            return (labels + torch.randint(1, count, labels.shape, generator=generator).to(labels.device)) % count

        return drawn
    if target in classes:
        return lambda labels, seed: torch.full_like(labels, classes.index(target))
    if target.isdecimal() and int(target) < count:
        return lambda labels, seed: torch.full_like(labels, int(target))
    known = ", ".join(classes[:12]) + (", ..." if count > 12 else "")
    raise OptionError(f"`target` is next, random or a class ({known}), got '{target}'")
