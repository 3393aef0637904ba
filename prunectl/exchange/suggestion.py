"""Suggests the network that weights fit, if the one that the user names does not take them."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from prunectl.checkpoints.build import built_on_meta
from prunectl.errors import CheckpointError, OptionError
from prunectl.exchange.matching import share_that_fits

_MOST = 0.8
"""The share of a network's tensors that a file must have; the last layers may have other shapes."""


@contextmanager
def suggesting(model: str, content: Mapping[str, Any]) -> Iterator[None]:
    """If torchvision's network of the same name fits the tensors that `model` refuses, suggest it in the error.

    Raises:
        OptionError, CheckpointError: from the block.
    """
    try:
        yield
    except (OptionError, CheckpointError) as error:
        if not _fits_torchvision(model, content):
            raise
        other = f"torchvision/{model}"
        raise type(error)(f"{error}; the names fit {other}: try `model` {other}") from error


def _fits_torchvision(model: str, content: Mapping[str, Any]) -> bool:
    from torchvision import models  # noqa: PLC0415

    if model not in models.list_models(module=models):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about how later versions will initialise weights
        made = built_on_meta(lambda: models.get_model(model, weights=None))
    if made is None:
        return False
    expected = {name: tuple(t.shape) for name, t in made.state_dict().items() if isinstance(t, Tensor)}
    return share_that_fits(content, expected) > _MOST
