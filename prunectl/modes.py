"""Modules are put in eval mode for a while, and come back as they were, each in its own mode."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module, *, batch_norm_trains: bool = False) -> Iterator[None]:
    """Eval mode inside the block; on request, BatchNorm alone normalises by the batch."""
    modes = {module: module.training for module in model.modules()}
    try:
        for module in modes:
            module.training = batch_norm_trains and isinstance(module, nn.modules.batchnorm._BatchNorm)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
