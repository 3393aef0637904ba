"""Builds the optimiser, learning rates and regulariser of a recipe."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoints.options.training import Recipe
from prunectl.errors import OptionError
from prunectl.plugins.options import keyword_options
from prunectl.plugins.registry import resolve

_FUSED: dict[Any, tuple[str, ...]] = {
    torch.optim.Adam: ("cpu", "cuda"),
    torch.optim.AdamW: ("cpu", "cuda"),
    torch.optim.SGD: ("cpu", "cuda"),
    torch.optim.Adagrad: ("cpu",),
}
"""The devices for which torch has fused optimisers; RMSprop has none."""


def optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a recipe, in torch's fused implementation if there is one for the device."""
    device = next(model.parameters()).device
    keywords: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.wd}
    if recipe.opt == "sgd":
        keywords |= {"momentum": recipe.momentum, "nesterov": recipe.momentum > 0}
    if recipe.opt == "rmsprop":
        keywords |= {"momentum": recipe.momentum}
    kind = resolve("optimizer", recipe.opt)
    if device.type in _FUSED.get(kind, ()):
        keywords |= {"fused": True}
    made: torch.optim.Optimizer = kind(model.parameters(), **keywords)
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
            raise OptionError("regulariser options without a regulariser; name it with `reg`")
        return None
    function = resolve("regularizer", recipe.reg)
    keywords = keyword_options(function, recipe.reg_options, f"regularizer {recipe.reg}")
    return lambda model: function(model, **keywords)
