"""attack: measures the accuracy of a network on adversarial images."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.images import ImageData, mixed
from prunectl.data.loader import check_unit_range
from prunectl.errors import DataError, OptionError
from prunectl.plugins.registry import PRESETS
from prunectl.robustness import doubts
from prunectl.robustness.batch import Batch, Networks
from prunectl.robustness.examples import Examples
from prunectl.robustness.methods import levels, methods
from prunectl.robustness.network import opened
from prunectl.robustness.progress import Progress, Watch, counted
from prunectl.robustness.tally import Tally
from prunectl.torchtools import distributed
from prunectl.torchtools.contexts import precision
from prunectl.torchtools.rng import forked

_QUICK_SAMPLE = 32
"""Images for the checks of `quick`: more would take longer than its attacks."""
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
    """Attack the test images, in batches, at every eps; returns one record. `how` has the arguments of `Attacker`.

    Raises:
        UnknownName, OptionError: unknown attack or option, or an eps outside the range of its norm.
        DataError: the images do not fit the network, or there are none.
        CheckpointError: the network's outputs are NaN.
    """
    attacker = Attacker(checkpoint, data, attack=attack, eps=eps, **how)
    for _, total in attacker.batches():
        if report is not None:
            report(total.images, len(attacker.images), [robust / total.images for robust in total.robust])
    return attacker.record()


class Attacker:
    """An attack that yields after every batch, so that the caller can watch, stop and save it.

    Images are in [0, 1] and eps (in that unit) bounds the attacks' norm; the normalisation is part of the network.
    Robust accuracy is measured on adversarial images within the ball, over ALL images: an image that is misclassified
    without an attack counts as wrong and is not attacked. `success` is the share of attacked images that the attack
    turns. `attack` is one name, several (`fgsm,pgd`: each on every image), or a preset, whose attacks continue with the
    images that are still correct at an eps. The worst case is taken image by image. `target` is a class, `next` or
    `random`. `reference` is a network whose predictions are compared. With `source`, adversarial images are made on
    that network (transfer). With `amp` all networks run in bfloat16 where that is safe, and the robust accuracy is that
    of the network in bfloat16. `watch` is called at every forward pass with (images done, what is running).
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
        amp: bool = False,
        seed: int = 0,
        examples: int = 0,
        watch: Watch | None = None,
    ) -> None:
        for network in (checkpoint, reference, source):
            if network is not None:
                data.check_fits(network.spec.input, network.spec.classes, network.spec.name)
                network.check_held_out(data)
        check_unit_range(data.test)
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
            raise DataError(f"{data.name} has no test images to attack; use other `data` or a larger `n`")
        self.batch_size, self.amp, self.seed = batch_size, amp, seed
        self.total: Tally | None = None
        self.warnings: list[str] = []
        self.examples = Examples(examples)
        self.watch = watch

    def batches(self, done: Sequence[Tally] = ()) -> Generator[tuple[Tally, Tally]]:
        """Attack batch by batch, after those in `done`; yields the counts of each batch and the total so far.

        Each of several processes attacks some of the batches; all yield all of them, in order. Between two batches the
        networks are in eval mode and without gradients; at the end, or on `close`, they are restored.
        """
        self.total = Tally.sum(done) if done else None
        device = self.checkpoint.device
        others = [network for network in (self.source, self.reference) if network is not None]
        asked = [network.model for network in (self.checkpoint, self.source) if network is not None]
        self._progress = Progress(self.watch, 0, 0, 1)
        self._progress.begin("checks", None)
        with opened(self.checkpoint, *others, amp=self.amp) as networks, forked(device), counted(asked, self._passed):
            victim, rest = networks[0], networks[1:]
            maker = rest.pop(0) if self.source is not None else victim
            reference = rest.pop(0) if self.reference is not None else None
            named = Networks(victim, maker, reference, self.checkpoint.spec.name)
            if distributed.leads():
                self.warnings = doubts.of_network(victim, maker, self.methods, self.levels, *self._sample())
            mine = self._mine(len(done))
            for _ in range(-(-(self._batches - len(done)) // distributed.processes())):
                own = [self._attacked(named, *batch) for batch in islice(mine, 1)]
                for part, found in chain(*distributed.gathered(own)):
                    self.examples.take(found)
                    self.total = part if self.total is None else self.total.plus(part)
                    yield part, self.total

    @property
    def _batches(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def _mine(self, done: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Number, pixels (B, C, H, W) and labels (B,) of the remaining batches of this process."""
        numbers = range(done, self._batches)[distributed.rows(self._batches - done)]
        positions = torch.split(torch.arange(len(self.images)), self.batch_size)
        whole = distributed.processes() == 1
        images = (
            self.images if whole else self.images.take(torch.cat([positions[0][:0], *(positions[i] for i in numbers)]))
        )
        for i, batch in zip(numbers, images.batches(self.batch_size, start=done if whole else 0), strict=True):
            yield i, *batch

    def _attacked(self, networks: Networks, i: int, pixels: Tensor, labels: Tensor) -> tuple[Tally, Examples]:
        """The counts of batch `i`, and its examples, if more are wanted."""
        started, device = time.perf_counter(), self.checkpoint.device
        examples = Examples(self.examples.wanted - len(self.examples))
        part = self._batch(i, networks, pixels.to(device).float() / 255, labels.to(device), examples).tally()
        part.seconds = time.perf_counter() - started
        return part, examples

    def _batch(self, index: int, networks: Networks, images: Tensor, labels: Tensor, examples: Examples) -> Batch:
        """A batch (B, C, H, W) with its labels (B,), its examples, and its progress."""
        before = 0 if self.total is None else self.total.images
        parts = len(self.methods) * len(self.levels)
        self._progress = Progress(self.watch, before, len(images), parts)
        return Batch(
            networks,
            images,
            labels,
            None if self.aim is None else self.aim(labels, mixed(self.seed, index)),
            methods=self.methods,
            levels=self.levels,
            cascade=self.cascade,
            seed=(self.seed, index),
            examples=examples,
            progress=self._progress,
        )

    def _passed(self) -> None:
        """Count a call of a network."""
        self._progress.seen()

    def record(self) -> dict[str, Any]:
        """The record of the batches so far; there must be at least one."""
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
            "precision": precision(self.checkpoint.model, amp=self.amp),
        }

    def _sample(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """A few images (B, C, H, W) spread over the set, their labels (B,), and the target classes (B,)."""
        count = min(_QUICK_SAMPLE if self.name == "quick" else 2 * doubts.SAMPLE, len(self.images))
        spread = self.images.take(torch.arange(count) * len(self.images) // count)
        pixels, labels = next(iter(spread.batches(count)))
        here = labels.to(self.checkpoint.device)
        aims = None if self.aim is None else self.aim(here, mixed(self.seed, 0))
        return pixels.to(self.checkpoint.device).float() / 255, here, aims


def _aim(target: str | None, classes: tuple[str, ...]) -> Callable[[Tensor, int], Tensor] | None:
    """The function from labels (B,) and a seed to target classes (B,).

    Raises:
        OptionError: the target is not a class.
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
    raise OptionError(f"`target` must be next, random or a class ({known}), got '{target}'")
