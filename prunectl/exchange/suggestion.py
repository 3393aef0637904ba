"""Another network that weights fit, where the one that the user names does not take them."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from prunectl.checkpoints.build import built_on_meta
from prunectl.errors import CheckpointError, OptionError
from prunectl.exchange.matching import share_that_fits

_MOST = 0.8
"""The share of a network's tensors that a file has: the last layers may have other shapes."""


@contextmanager
def suggesting(model: str, content: Mapping[str, Any]) -> Iterator[None]:
    """Add to a refusal of network `model` that torchvision's network of this name fits the tensors, if it does.

    Raises:
        OptionError, CheckpointError: those of the block.
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
        warnings.simplefilter("ignore")  # of how later versions will draw the weights
        made = built_on_meta(lambda: models.get_model(model, weights=None))
    if made is None:
        return False
    expected = {name: tuple(t.shape) for name, t in made.state_dict().items() if isinstance(t, Tensor)}
    return share_that_fits(content, expected) > _MOST
