"""Shared code for networks of other libraries: builds them, and checks that they fit the images."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.errors import DataError, OptionError
from prunectl.torchtools.copies import like_parameters, on_meta

Builder = Callable[..., nn.Module]
_FAILURES = (RuntimeError, AssertionError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


def build(name: str, make: Callable[[], nn.Module], input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build network `name`, and check that it takes the images (C, H, W) and returns logits in training.

    Raises:
        DataError: it does not take such images.
        OptionError: it does not have an option, or does not return logits.
    """
    try:
        model = _make(make)
    except TypeError as error:
        if "unexpected keyword" in str(error) or "multiple values" in str(error):
            raise OptionError(f"{name} has no such option: {error}") from error
        raise _unfit(name, input_shape, error) from error
    except _FAILURES as error:
        raise _unfit(name, input_shape, error) from error
    if not next(model.parameters()).is_meta:
        _check_logits(name, model, input_shape, classes)
    return model


def refuse(name: str, options: dict[str, Any], fixed: tuple[str, ...]) -> None:
    """Refuse options that the user must not set: those that the data decides or that would load weights.

    Raises:
        OptionError: one of `fixed` is set.
    """
    if taken := [key for key in options if key in fixed]:
        raise OptionError(f"{name}: option '{taken[0]}' is set by prunectl; leave it out")


def _make(make: Callable[[], nn.Module]) -> nn.Module:
    """Build on the default device, or on the cpu first if a network computes its sizes with tensors (RegNet)."""
    try:
        return make()
    except NotImplementedError:
        device = torch.get_default_device()
        with torch.device("cpu"):
            return make().to(device)


def _check_logits(name: str, model: nn.Module, input_shape: tuple[int, int, int], classes: int) -> None:
    """Check its outputs on the meta device, which computes nothing."""
    try:
        with torch.no_grad():
            empty = on_meta(model).train()
            logits = empty(like_parameters(empty, 2, *input_shape))
    except _FAILURES as error:
        raise _unfit(name, input_shape, error) from error
    if not isinstance(logits, Tensor) or logits.shape != (2, classes):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise OptionError(f"{name} returns {found} in training, expected logits (2, {classes}); change its options")


def _unfit(name: str, input_shape: tuple[int, int, int], error: Exception) -> DataError:
    """The error for images that do not fit a network."""
    what = str(error).partition("\n")[0] or type(error).__name__
    size = "x".join(map(str, input_shape))
    return DataError(
        f"{name} does not take images of {size} (CxHxW): {what}; use `image_size`, other options or another network"
    )
