"""Recipe: all settings of a training except the network and the data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.errors import OptionError
from prunectl.plugins.options import keyword_options
from prunectl.plugins.registry import resolve, unknown
from prunectl.training.adversarial import LOSSES
from prunectl.training.pruning_config import GradualPruning

SCHEDULES = ("constant", "cosine", "onecycle")
AUGMENTATIONS = ("flip", "crop", "cutout")


@dataclass(frozen=True)
class Recipe:
    """How to train.

    `wd` is the optimiser's weight decay, `clip` the largest gradient norm, `noise` the standard deviation of Gaussian
    noise on gradients, `ema` the decay of the averaged weights, which become the result. The regulariser `reg` is added
    to the loss with the factor `reg_weight`. `augment` None uses the dataset's augmentation; `mixup` is the alpha of
    Zhang et al. 2018. The learning rate rises linearly for `warmup` epochs before its schedule. `prune` prunes between
    epochs. `adv_eps` trains on adversarials of that max norm, `adv_beta` is the factor of `trades`. Where a teacher is
    given, `teacher_weight` is its share of the loss, `temperature` softens its predictions and the network's.
    """

    epochs: int = 10
    batch_size: int = 128
    opt: str = "adam"
    lr: float = 2e-3
    wd: float = 5e-5
    momentum: float = 0.9
    sched: str = "constant"
    warmup: float = 0.0
    clip: float | None = None
    noise: float = 0.0
    reg: str | None = None
    reg_weight: float = 1e-5
    reg_options: dict[str, str] = field(default_factory=dict)
    label_smoothing: float = 0.0
    ema: float | None = None
    amp: bool = False
    compile: bool = False
    augment: tuple[str, ...] | None = None
    mixup: float = 0.0
    teacher_weight: float = 0.5
    temperature: float = 4.0
    seed: int = 0
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
                raise OptionError(f"`{name}` lies between {low:g} and {high:g}, got {value:g}")
        if self.ema == 1:
            raise OptionError("`ema` 1 keeps the first weights for ever; take less, such as 0.999")
        if self.adv_eps == 0:
            raise OptionError("`adv_eps` 0 makes no adversarials; leave it out, or give a size such as 8/255")
        if self.sched not in SCHEDULES:
            raise unknown("learning-rate schedule", self.sched, SCHEDULES)
        if self.adv_eps is None and (self.adv_steps, self.adv_loss, self.adv_beta) != (7, "pgd", 6.0):
            raise OptionError("`adv_steps`, `adv_loss` and `adv_beta` say how to make adversarials; give `adv_eps` too")
        if self.warmup and self.sched == "onecycle":
            raise OptionError("`sched` onecycle has a warm-up of its own; leave out `warmup`, or take cosine")
        if self.mixup and self.adv_eps:
            raise OptionError("`mixup` and `adv_eps` cannot be combined; leave out one of them")
        if self.adv_loss not in LOSSES:
            raise unknown("adversarial loss", self.adv_loss, LOSSES)
        for name in self.augment or ():
            if name not in AUGMENTATIONS:
                raise unknown("augmentation", name, ("none", *AUGMENTATIONS))


def optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a recipe, in torch's fused implementation if there is one for the device."""
    device = next(model.parameters()).device
    keywords: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.wd}
    if recipe.opt == "sgd":
        keywords |= {"momentum": recipe.momentum, "nesterov": recipe.momentum > 0}
    if recipe.opt == "rmsprop":
        keywords |= {"momentum": recipe.momentum}
    if recipe.opt in ("adam", "adamw", "sgd") and device.type in ("cpu", "cuda"):
        keywords |= {"fused": True}
    made: torch.optim.Optimizer = resolve("optimizer", recipe.opt)(model.parameters(), **keywords)
    return made


def scheduler(
    recipe: Recipe, opt: torch.optim.Optimizer, steps: int, *, warmup: int = 0
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate of every step: constant, cosine to zero, or one cycle up and down (Smith & Topin 2019).

    It rises linearly in the first `warmup` steps (Goyal et al. 2017, arXiv:1706.02677, section 2.2).
    """
    if recipe.sched == "onecycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            opt, max_lr=recipe.lr, total_steps=max(steps, 1), cycle_momentum=False
        )
    if not warmup:
        return _after_warmup(recipe, opt, steps)
    rising = torch.optim.lr_scheduler.LinearLR(opt, start_factor=1 / (warmup + 1), total_iters=warmup)
    later = _after_warmup(recipe, opt, steps - warmup)
    return torch.optim.lr_scheduler.SequentialLR(opt, [rising, later], milestones=[warmup])


def _after_warmup(recipe: Recipe, opt: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.sched == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=max(steps, 1))
    return torch.optim.lr_scheduler.ConstantLR(opt, factor=1.0)


def penalty(recipe: Recipe) -> Callable[[nn.Module], Tensor] | None:
    """The regulariser of a recipe as a function of the model, None if it has none."""
    if recipe.reg is None:
        if recipe.reg_options:
            raise OptionError("options for a regulariser were given without one; name it with `reg`")
        return None
    function = resolve("regularizer", recipe.reg)
    keywords = keyword_options(function, recipe.reg_options, f"regularizer {recipe.reg}")
    return lambda model: function(model, **keywords)
