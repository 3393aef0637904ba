"""Checkpoints of any network with random values, dense or with half of the nodes removed."""

from typing import Any

import torch

from prunectl.checkpoints.build import build
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.header import DenseCounts, ModelSpec, Resize
from prunectl.data.images import Preprocessing
from prunectl.masks import Masks
from prunectl.measuring.cost import cost
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.structure.count import count_nodes
from tests.helpers.randomise import randomise_


def dense_checkpoint(name: str, shape: tuple[int, int, int], classes: int = 10, **options: Any) -> Checkpoint:
    """Network `name` with random values, class names and a resize rule; `options` are its own."""
    spec = ModelSpec(name, shape, classes, options)
    torch.manual_seed(0)
    model = randomise_(build(spec), 0, shape)
    counted = cost(model, Masks.dense(), shape)
    dense = DenseCounts(counted.parameters, counted.weights, count_nodes(model, shape), counted.flops)
    preprocessing = Preprocessing((0.5, 0.4, 0.3)[: shape[0]], (0.25, 0.2, 0.3)[: shape[0]])
    names = tuple(f"class {i}" for i in range(classes))
    resize = Resize(shape[1], 0.875, "bicubic")
    return Checkpoint(model, Masks.dense(), spec, "test", preprocessing, dense, names=names, resize=resize)


def shrunk_checkpoint(name: str, shape: tuple[int, int, int], sparsity: float = 0.5) -> Checkpoint:
    """The same, with a share of its nodes removed."""
    return shrink(prune(dense_checkpoint(name, shape), None, criterion="structured-random", sparsity=sparsity))
