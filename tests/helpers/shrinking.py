"""Pruned toys, and whether a shrunk network computes the same."""

from dataclasses import replace

import torch

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.header import ModelSpec
from prunectl.masks import Masks, prunable
from prunectl.structure.surgery.proof import difference
from tests.helpers.networks import checkpoint_of, randomise_
from tests.helpers.toys import TOYS


def toy(name: str) -> Checkpoint:
    """A toy with random values everywhere, that can be read from a file again."""
    build, shape = TOYS[name]
    torch.manual_seed(0)
    made = checkpoint_of(randomise_(build()).eval(), shape)
    return replace(made, spec=ModelSpec("tests.helpers.toys:built", shape, 3, {"name": name}))


def weight_masked(start: Checkpoint, sparsity: float) -> Checkpoint:
    """Masks that hit every weight alike."""
    generator = torch.Generator().manual_seed(1)
    named = prunable(start.model).items()
    masks = Masks({name: torch.rand(weight.shape, generator=generator) > sparsity for name, weight in named})
    masks.apply_(start.model)
    return start.after("prune", {}, masks=masks)


def same(one: Checkpoint, other: Checkpoint) -> bool:
    return difference(one.model, other.model, one.spec.input, seed=7) < 1e-5
