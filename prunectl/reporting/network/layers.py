"""The layers of a network beside those of its dense original, with pictures of what is kept."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunectl.checkpoints.build import build
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.masks import prunable
from prunectl.reporting.findings import Layer
from prunectl.reporting.network.picture import png
from prunectl.structure.surgery.cut import grown
from prunectl.structure.surgery.plan import Plan

_ROWS, _COLUMNS = 64, 128
"""Most spots of a picture."""


def whole_masks(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """What is kept of every prunable weight of the dense network: bool tensors in its shapes, gone nodes pruned."""
    kept = Plan.of(checkpoint.edits).kept
    model, masks = checkpoint.model, checkpoint.masks
    if kept:
        model, masks = grown(model, masks, dense_network(checkpoint), kept)
    return {name: masks.of(name, weight) for name, weight in prunable(model).items()}


def dense_network(checkpoint: Checkpoint) -> nn.Module:
    """The network of a checkpoint as it was before anything was pruned, with fresh weights."""
    with torch.random.fork_rng(devices=[]):
        return build(checkpoint.spec)


def layers(masks: Mapping[str, Tensor]) -> tuple[Layer, ...]:
    """One entry for every prunable weight, in the network's order."""
    return tuple(
        Layer(
            name=name.removesuffix(".weight") or "weight",
            shape=tuple(mask.shape),
            kept=int(mask.sum()),
            outputs=len(mask),
            left=int(mask.flatten(1).any(1).sum()),
            picture=_picture(mask),
        )
        for name, mask in masks.items()
    )


def _picture(mask: Tensor) -> bytes:
    """Outputs downwards, inputs and kernels across, averaged over spots where there are too many."""
    table = mask.flatten(1).float()[None, None]  # (1, 1, outputs, inputs)
    size = (min(table.shape[2], _ROWS), min(table.shape[3], _COLUMNS))
    share = nn.functional.adaptive_avg_pool2d(table, size)[0, 0]
    return png(share.sqrt())  # a single weight in a large spot is still seen
