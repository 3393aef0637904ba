"""Recipe: all settings of a training except the network and the data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prunectl.checkpoints.options.option import option
from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.errors import OptionError
from prunectl.plugins.registry import unknown

SCHEDULES = ("constant", "cosine", "onecycle")
AUGMENTATIONS = ("flip", "crop", "cutout")
ADVERSARIAL_LOSSES = ("pgd", "trades")


def _amp_by_default(options: Mapping[str, Any]) -> bool:
    return bool(options.get("device") == "cuda")


@dataclass(frozen=True)
class Recipe:
    """The settings of a training.

    `wd` is the optimiser's weight decay, `clip` the largest gradient norm, `noise` the standard deviation of Gaussian
    noise on gradients, `ema` the decay of the averaged weights, which become the result. The regulariser `reg` is added
    to the loss with the factor `reg_weight`. `augment` None uses the dataset's augmentation; `mixup` is the alpha of
    Zhang et al. 2018. The learning rate rises linearly for `warmup` epochs before its schedule. `prune` prunes between
    epochs. `adv_eps` trains on adversarials of that max norm, `adv_beta` is the factor of `trades`. Where a teacher is
    given, `teacher_weight` is its share of the loss, `temperature` softens its predictions and the network's. With
    `recalibrate`, BatchNorm statistics are estimated again at the end, over training images without augmentation.
    """

    epochs: int = 10
    batch_size: int = 128
    opt: str = option("adam", kind="optimizer")
    lr: float = 2e-3
    wd: float = 5e-5
    momentum: float = 0.9
    sched: str = "constant"
    warmup: float = option(0.0, sparse=True)
    clip: float | None = None
    noise: float = 0.0
    reg: str | None = option(None, kind="regularizer")
    reg_weight: float = option(1e-5, needs="reg")
    reg_options: dict[str, str] = option(default_factory=dict, flag="-O", owner="reg")
    label_smoothing: float = 0.0
    ema: float | None = None
    amp: bool = option(False, negative="--no-amp", implied=_amp_by_default)
    compile: bool = False
    augment: tuple[str, ...] | None = option(None, joined=True)
    mixup: float = option(0.0, sparse=True)
    teacher_weight: float = option(0.5, sparse=True)
    temperature: float = option(4.0, sparse=True)
    recalibrate: bool = option(False, sparse=True)
    seed: int = option(0, shown=False)
    adv_eps: float | None = None
    adv_steps: int = 7
    adv_loss: str = "pgd"
    adv_beta: float = 6.0
    prune: GradualPruning | None = None

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {
            "epochs": (0, 1e6),
            "batch_size": (2, 1e9),  # BatchNorm cannot train on a single image
            "lr": (0, 1e3),
            "wd": (0, 1e3),
            "momentum": (0, 1),
            "noise": (0, 1e3),
            "reg_weight": (0, 1e3),
            "label_smoothing": (0, 1),
            "ema": (0, 1),
            "clip": (1e-9, 1e9),
            "adv_eps": (0, 1),
            "adv_steps": (1, 1e4),
            "adv_beta": (0, 1e3),
            "warmup": (0, self.epochs),
            "mixup": (0, 1e3),
            "teacher_weight": (0, 1),
            "temperature": (1e-3, 1e3),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise OptionError(f"`{name}` must be between {low:g} and {high:g}, got {value:g}")
        if self.ema == 1:
            raise OptionError("`ema` 1 never updates the average; use a smaller value, such as 0.999")
        if self.adv_eps == 0:
            raise OptionError("`adv_eps` 0 makes no adversarial images; leave it out, or use a size such as 8/255")
        if self.sched not in SCHEDULES:
            raise unknown("learning-rate schedule", self.sched, SCHEDULES)
        if self.adv_eps is None and (self.adv_steps, self.adv_loss, self.adv_beta) != (7, "pgd", 6.0):
            raise OptionError("`adv_steps`, `adv_loss` and `adv_beta` are for adversarial training; add `adv_eps`")
        if self.warmup and self.sched == "onecycle":
            raise OptionError("`sched` onecycle includes a warm-up; leave out `warmup`, or use cosine")
        if self.mixup and self.adv_eps:
            raise OptionError("`mixup` and `adv_eps` cannot be combined; leave out one of them")
        if self.adv_loss not in ADVERSARIAL_LOSSES:
            raise unknown("adversarial loss", self.adv_loss, ADVERSARIAL_LOSSES)
        for name in self.augment or ():
            if name not in AUGMENTATIONS:
                raise unknown("augmentation", name, ("none", *AUGMENTATIONS))


@dataclass(frozen=True)
class TrainRun:
    """What a history records of a training besides its recipe: it ended after `steps` of `total_steps`.

    `teacher` is the sha256 of the checkpoint that it learned from.
    """

    device: str = option(shown=False)
    steps: int = option(shown=False)
    total_steps: int = option(shown=False)
    teacher: str | None = option(None, sparse=True, file=True)
    processes: int = option(1, shown=False, sparse=True)
