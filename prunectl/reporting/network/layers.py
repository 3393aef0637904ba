"""The layers of a network in the shapes of its dense original, with pictures of their masks."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint, read
from prunectl.masks import prunable
from prunectl.reporting.findings import Layer
from prunectl.reporting.network.picture import heatmap
from prunectl.structure.surgery.cut import grown
from prunectl.structure.surgery.plan import Plan

_ROWS, _COLUMNS = 64, 128
"""Most pixels of a picture."""


def whole_masks(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Masks of all prunable weights in the shapes of the dense network; the weights of removed nodes are pruned."""
    kept = Plan.of(checkpoint.edits).kept
    model, masks = checkpoint.model, checkpoint.masks
    if kept:
        model, masks = grown(model, masks, dense_network(checkpoint), kept)
    return {name: masks.of(name, weight) for name, weight in prunable(model).items()}


def dense_network(checkpoint: Checkpoint) -> nn.Module:
    """The network of a checkpoint in its original shapes, with fresh weights."""
    with torch.random.fork_rng(devices=[]):
        return checkpoint.fresh_network()


def dense_layers(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of all prunable weights of a checkpoint's dense network by layer, in the order of the network.

    Raises:
        CheckpointError, UntrustedCode: it cannot be read.
    """
    whole = prunable(dense_network(read(path, mapped=True)))
    return {layer_name(name): tuple(weight.shape) for name, weight in whole.items()}


def layer_name(parameter: str) -> str:
    """The name of a layer, from the name of its weight."""
    return parameter.removesuffix(".weight") or parameter


def layers(masks: Mapping[str, Tensor]) -> tuple[Layer, ...]:
    """One entry per prunable weight, in the order of the network."""
    return tuple(
        Layer(
            name=layer_name(name),
            shape=tuple(mask.shape),
            kept=int(mask.count_nonzero()),
            outputs=len(mask),
            left=int(mask.flatten(1).any(1).sum()),
            picture=_picture(mask),
        )
        for name, mask in masks.items()
    )


def _picture(mask: Tensor) -> bytes:
    """A picture with outputs as rows, inputs and kernels as columns, averaged if there are more than the pixels."""
    table = mask.flatten(1).float()[None, None]  # (1, 1, outputs, inputs)
    size = (min(table.shape[2], _ROWS), min(table.shape[3], _COLUMNS))
    share = nn.functional.adaptive_avg_pool2d(table, size)[0, 0]
    return heatmap(share.sqrt())  # keeps a single weight in a large average visible
