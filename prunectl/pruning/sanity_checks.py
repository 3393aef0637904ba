"""Sanity checks of a mask: shuffles it, or puts it on other weights (Frankle et al. 2021)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.errors import OptionError
from prunectl.masks import Masks, prunable
from prunectl.scores import highest
from prunectl.structure.surgery.cut import cut
from prunectl.structure.surgery.plan import Plan
from prunectl.torchtools.rng import seed_for


def shuffle_layerwise(checkpoint: Checkpoint, model: nn.Module, masks: Masks, seed: int) -> Masks:
    """Every layer keeps as many weights, drawn at random from those before pruning, with their own values.

    Source: Frankle, Dziugaite, Roy & Carbin 2021 (arXiv:2009.08576).
    """
    weights = prunable(model)
    original = prunable(checkpoint.model)
    shuffled = {}
    for name, mask in ((name, mask) for name, mask in masks.items() if name in weights):
        before = checkpoint.masks.of(name, mask)
        shuffled[name] = _some(before, int(mask.count_nonzero()))
        with torch.no_grad():
            weights[name].copy_(original[name])
    return Masks({**masks, **shuffled})


def reinitialise(checkpoint: Checkpoint, model: nn.Module, masks: Masks, seed: int) -> Masks:
    """The masks stay; all parameters and statistics are initialised again. Source: as `shuffle_layerwise`."""
    plan = Plan.of(checkpoint.edits)
    if plan.graph:
        raise OptionError("a network on a rewritten graph cannot be initialised again; use the network before `shrink`")
    torch.manual_seed(seed_for("reinit", seed))
    fresh = checkpoint.fresh_network().state_dict()
    model.load_state_dict(cut(fresh, plan.kept))
    return masks


def _some(alive: Tensor, count: int) -> Tensor:
    """`count` of the entries that are True, drawn at random on the cpu."""
    draws = torch.rand(alive.shape).to(alive.device).masked_fill(~alive, -1).flatten()
    return highest(draws, count).view_as(alive)


CONTROLS: dict[str, Callable[[Checkpoint, nn.Module, Masks, int], Masks]] = {
    "shuffle-layerwise": shuffle_layerwise,
    "reinit": reinitialise,
}
