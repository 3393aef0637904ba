"""Context managers for temporary settings: the mode of every module, torch's fused kernels, TF32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunectl.errors import OptionError

_NO_BACKWARD = {
    "modified by an inplace operation": "an in-place operation overwrites what the backward pass needs: write it "
    "without the trailing underscore or inplace=True",
    "does not require grad": "its outputs depend on no parameter that requires a gradient: look for no_grad, detach "
    "or requires_grad_(False) in its code",
    "leaf Variable that requires grad": "an in-place operation changes a parameter: write it without the trailing "
    "underscore",
    "is not implemented": "an operation has no derivative",
}
"""torch's errors for a network without a backward pass, and their meaning."""


@contextmanager
def evaluating(model: nn.Module, *, batch_norm_trains: bool = False) -> Iterator[None]:
    """Eval mode inside the block; on request, BatchNorm still normalises by the batch."""
    modes = {module: module.training for module in model.modules()}
    try:
        for module in modes:
            module.training = batch_norm_trains and isinstance(module, nn.modules.batchnorm._BatchNorm)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch in one CPU thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def autocast(model: nn.Module, *, enabled: bool) -> torch.autocast:
    """Run a float32 network in bfloat16 where that is safe; other networks compute in their own type."""
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return torch.autocast(like.device.type, dtype=torch.bfloat16, enabled=enabled and like.dtype == torch.float32)


def precision(model: nn.Module, *, amp: bool) -> str:
    """The type that a network computes in, such as float32; with `amp` see `autocast`."""
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return str(torch.bfloat16 if amp and like.dtype == torch.float32 else like.dtype).removeprefix("torch.")


@contextmanager
def full_precision() -> Iterator[None]:
    """Run float32 convolutions in float32: by default, a gpu rounds their operands to TF32, 11 bits of 24.

    With TF32, a network and its shrunk version disagree on images close to a decision border. Matrix products are in
    float32 anyway, unless the user has chosen otherwise.
    """
    cudnn: Any = torch.backends.cudnn
    parts = [cudnn.conv, cudnn.rnn]
    before = [part.fp32_precision for part in parts]
    if "tf32" not in before:
        yield
        return
    try:
        cudnn.allow_tf32 = False  # torch's older setting: with the newer one, other code could not read it in the block
        for part in parts:
            if part.fp32_precision == "tf32":
                part.fp32_precision = "ieee"
        yield
    finally:
        cudnn.allow_tf32 = True
        for part, was in zip(parts, before, strict=True):
            if part.fp32_precision != was:
                part.fp32_precision = was


@contextmanager
def slow_attention() -> Iterator[None]:
    """Run attention in single steps, which torch's fused inference kernel would hide."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def single_steps() -> Iterator[None]:
    """Run attention and recurrent layers as the products that they consist of, so that these can be counted."""
    onednn = torch.backends.mkldnn.set_flags(False, None, None, None)[0]  # type: ignore[no-untyped-call]
    try:
        with slow_attention(), sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        torch.backends.mkldnn.set_flags(onednn, None, None, None)  # type: ignore[no-untyped-call]


@contextmanager
def differentiated() -> Iterator[None]:
    """Turn torch's errors about a missing backward pass into one line.

    Raises:
        OptionError: torch finds an in-place operation, or no gradient.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error).partition("\n")[0]
        meaning = next((meaning for said, meaning in _NO_BACKWARD.items() if said in text), None)
        if meaning is None:
            raise
        raise OptionError(f"the network has no backward pass: {meaning} ({text.partition(':')[0]})") from error


@contextmanager
def enough_for_batch_norm() -> Iterator[None]:
    """Turn torch's error for BatchNorm on a single value per channel into one line.

    Raises:
        OptionError: BatchNorm has only one value per channel.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise OptionError(
            "BatchNorm normalises by the batch, but has only 1 value per channel: use batches of 2 images or more, "
            "and at least as many training images"
        ) from error
