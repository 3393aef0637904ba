"""Selects weights so that a path of kept weights from the image to the outputs remains."""

import torch
from torch import Tensor, nn

from prunectl.masks import Masks
from prunectl.pruning.reachability import Reachability, Shape
from prunectl.pruning.select import Scope, lamp, select
from prunectl.scores import Scores


def select_connected(
    model: nn.Module, shape: Shape, scores: Scores, alive: Masks, keep: int, scope: str | Scope = "global"
) -> Masks:
    """As `select`, but the weights of one path stay if all paths through the network would be cut.

    The path is found layer by layer, each time by the highest score on a path. A network that is already cut, or in
    which no path is found, is handled as by `select`.

    Raises:
        OptionError: as `select`.
    """
    kept = select(scores, alive, keep, scope)
    flow = Reachability(model, shape)
    if flow.reaches(Masks({**alive, **kept})) or not flow.reaches(alive):
        return kept
    if scope == "lamp":  # its scores depend on those of the whole layer
        scores, scope = lamp(scores, alive), "global"
    highest = max(float(score.max()) for score in scores.values())
    path = _path(flow, scores, alive)
    first = {name: torch.where(path[name], 2 * abs(highest) + 1, score) for name, score in scores.items()}
    return select(Scores(first), alive, keep, scope)


def unreached_classes(model: nn.Module, shape: Shape, masks: Masks) -> list[int]:
    """The outputs that the dense network reaches, but no path of kept weights does.

    Such a logit is a constant, so it does not depend on the image.
    """
    flow = Reachability(model, shape)
    lost = (flow.logits(Masks.dense()) > 0) & (flow.logits(masks) <= 0)
    return torch.nonzero(lost[0].reshape(lost.shape[1], -1).all(1)).flatten().tolist()


def _path(flow: Reachability, scores: Scores, alive: Masks) -> dict[str, Tensor]:
    """One weight per layer, all on one path; a layer that the path does not need keeps all."""
    chosen: dict[str, Tensor] = {}
    none = {name: torch.zeros_like(score, dtype=torch.bool) for name, score in scores.items()}
    for name, score in scores.items():
        on = flow.on_paths(Masks({**alive, **chosen}))[name]
        if on.any():
            best = score.masked_fill(~on, -torch.inf).argmax()
            chosen[name] = none[name].flatten().index_fill(0, best, True).view_as(score)
    return {**none, **chosen}
