"""Wraps a network for attacks: from images in [0, 1] to logits, with the normalisation inside."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.pixels import deployed
from prunectl.errors import CheckpointError
from prunectl.torchtools.contexts import autocast, evaluating, full_precision
from prunectl.torchtools.layout import laid_out


@contextmanager
def opened(*checkpoints: Checkpoint, amp: bool = False) -> Iterator[list[Any]]:
    """The networks in foolbox's wrapper, in eval mode and without parameter gradients inside the block.

    They run in their fastest layout, with `amp` in bfloat16 where that is safe; attacks compute in float32.
    """
    import foolbox  # noqa: PLC0415

    if len({checkpoint.preprocessing.known for checkpoint in checkpoints}) > 1:
        for checkpoint in checkpoints:  # each normalises the same pixels itself
            checkpoint.preprocessing.check_known()
    make: Any = foolbox.PyTorchModel  # type: ignore[attr-defined]
    with ExitStack() as stack:
        stack.enter_context(full_precision())
        wrapped = []
        for checkpoint in checkpoints:
            stack.enter_context(evaluating(checkpoint.model))
            stack.enter_context(_without_gradients(checkpoint.model))
            stack.enter_context(laid_out(checkpoint.model, checkpoint.spec.input, amp=amp))
            how = {"mean": list(checkpoint.preprocessing.mean), "std": list(checkpoint.preprocessing.std), "axis": -3}
            network = _Attacked(deployed(checkpoint.model), amp=amp)
            wrapped.append(make(network, bounds=(0, 1), device=checkpoint.device, preprocessing=how))
        yield wrapped


class _Attacked(nn.Module):
    """Takes and returns float32; image gradients are contiguous, because foreign attacks view them flat."""

    def __init__(self, network: nn.Module, *, amp: bool) -> None:
        super().__init__()
        self.network, self.amp = network, amp
        self.train(network.training)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, classes)."""
        seen = images.view_as(images)
        if seen.requires_grad:
            seen.register_hook(Tensor.contiguous)  # type: ignore[no-untyped-call]
        with autocast(self.network, enabled=self.amp):
            found: Tensor = self.network(seen)
        return found.float()


def logits(network: Any, images: Tensor, name: str) -> Tensor:
    """Outputs (B, classes).

    Raises:
        CheckpointError: some are not finite.
    """
    with torch.no_grad():
        found: Tensor = network(images)
    check_finite(bool(found.isfinite().all()), name)
    return found


def check_finite(finite: bool, name: str) -> None:
    """Refuse a network whose outputs are not finite.

    Raises:
        CheckpointError: they are not finite.
    """
    if not finite:
        raise CheckpointError(f"{name} has NaN or infinite outputs on its images; train it again with a lower `lr`")


def predict(network: Any, images: Tensor) -> Tensor:
    """Predicted classes (B,); for no images, the network is not run."""
    if not len(images):
        return torch.empty(0, dtype=torch.int64, device=images.device)
    with torch.no_grad():
        classes: Tensor = network(images).argmax(1)
    return classes


@contextmanager
def _without_gradients(model: nn.Module) -> Iterator[None]:
    """Freeze the parameters inside the block, because foolbox would leave gradients on them."""
    frozen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
