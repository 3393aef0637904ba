"""The response of the loss to a relative change of parameters: the basis of the elasticities of weights and nodes."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from prunectl.criteria.base.criterion import Batches
from prunectl.errors import OptionError
from prunectl.plugins.registry import unknown
from prunectl.torchtools import distributed
from prunectl.torchtools.contexts import evaluating, full_precision
from prunectl.torchtools.copies import differentiable

LOSSES = {"cross-entropy": nn.functional.cross_entropy, "nll-logits": nn.functional.nll_loss}


@dataclass(frozen=True)
class LossSampling:
    """How a loss is computed: over how many batches, and with which settings.

    `bn` says which statistics BatchNorm uses: `running`, or those of the `batch`; `loss` is `cross-entropy` or
    `nll-logits`, the mean of the negative target logit, as in the authors' code. Dropout is off. With `chunk`, at most
    this many images go through the network at once, which limits the memory; 0 means whole batches.
    """

    batches: int = 5
    bn: str = "running"
    loss: str = "cross-entropy"
    chunk: int = 0

    def __post_init__(self) -> None:
        if self.bn not in ("running", "batch"):
            raise unknown("BatchNorm mode", self.bn, ("running", "batch"))
        if self.loss not in LOSSES:
            raise unknown("scoring loss", self.loss, LOSSES)
        if self.batches < 1 or self.chunk < 0:
            raise OptionError(f"batches must be 1 or more and chunk 0 or more, got {self.batches} and {self.chunk}")
        if self.bn == "batch" and self.chunk:
            raise OptionError("bn=batch needs the statistics of whole batches, which chunk splits; leave out one")

    def parts(self, inputs: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor, float]]:
        """The images of a batch that this process takes, in chunks, each with its share of the batch.

        With the statistics of batches, every process takes whole batches.
        """
        if self.bn == "batch":
            yield inputs, labels, 1 / distributed.processes()
            return
        inputs, labels, whole = distributed.share(inputs), distributed.share(labels), len(labels)
        size = self.chunk or max(len(labels), 1)
        for images, targets in zip(torch.split(inputs, size), torch.split(labels, size), strict=True):
            if len(targets):
                yield images, targets, len(targets) / whole

    def value(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """The mean loss."""
        return self.of_logits(model(inputs), labels)

    def of_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of outputs (B, classes)."""
        return LOSSES[self.loss](logits, labels)


def gradients(
    model: nn.Module, data: Batches, names: Collection[str], draw: LossSampling
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Yield the loss of every batch of a draw and its gradient by the named parameters, float32.

    It is zero if a parameter is not used. Parameters, buffers, gradients and mode of the model do not change.
    """
    network = differentiable(model)
    parameters = {name: p for name, p in network.named_parameters() if name in names}
    wanted = list(parameters.values())
    with evaluating(network, batch_norm_trains=draw.bn == "batch"), full_precision():
        for inputs, labels in islice(data, draw.batches if wanted else 0):
            total = torch.zeros((), device=inputs.device)
            sums: list[Tensor] = []
            for images, targets, share in draw.parts(inputs, labels):
                value = draw.value(network, images, targets) * share
                found = torch.autograd.grad(value, wanted, allow_unused=True, materialize_grads=True)
                total += value.detach()
                sums = _added(sums, found)
                del found  # before the next pass allocates more
            sums = sums or [torch.zeros_like(p, dtype=torch.float32) for p in wanted]
            distributed.sum_([total, *sums])
            yield total, dict(zip(parameters, sums, strict=True))
            sums.clear()


def sensitivity(model: nn.Module, data: Batches, names: Collection[str], draw: LossSampling) -> dict[str, Tensor]:
    """dL/dθ · θ / L, with its sign, of the named parameters θ, over all batches of a draw."""
    parameters = {name: p for name, p in model.named_parameters() if name in names}
    total: Tensor | None = None
    sums: list[Tensor] = []
    for value, found in gradients(model, data, names, draw):
        sums = _added(sums, [found.pop(name) for name in parameters])
        total = value if total is None else total + value
    if total is None:
        return {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    total = total.where(total != 0, 1)  # the loss is one factor for all scores; avoid a division by 0
    return {name: _product(s, p.detach()).div_(total) for s, (name, p) in zip(sums, parameters.items(), strict=True)}


def _product(own: Tensor, other: Tensor) -> Tensor:
    """The product, in the memory of `own` if that has its type."""
    return own.mul_(other) if torch.promote_types(own.dtype, other.dtype) == own.dtype else own * other


def _added(sums: list[Tensor], more: Collection[Tensor]) -> list[Tensor]:
    """Add in place; the first values become the sums."""
    if not sums:
        return [tensor.detach().float() for tensor in more]
    torch._foreach_add_(sums, [tensor.detach() for tensor in more])
    return sums
