"""SNIP: connection sensitivity, once (Lee et al. 2019) or in small steps (Verdenius et al. 2020)."""

from itertools import islice

import torch
from torch import Tensor, nn

from prunectl.criterion import Batches, Criterion
from prunectl.masks import prunable
from prunectl.modes import evaluating
from prunectl.registry import unknown
from prunectl.scores import Scores
from prunectl.shadow import shadow

LOSSES = {"cross-entropy": nn.functional.cross_entropy, "nll-logits": nn.functional.nll_loss}


def elasticity(
    model: nn.Module, data: Batches, *, batches: int = 5, bn: str = "running", loss: str = "cross-entropy"
) -> Scores:
    """|dL/dθ · θ / L| of every prunable weight θ, the gradient and the loss L taken over `batches` batches.

    Source: the elasticity of Verdenius, Stol & Forré 2020 (arXiv:2006.00896); without the division by L, one factor for
    all weights, it ranks as the connection sensitivity of SNIP (Lee, Ajanthan & Torr 2019, arXiv:1810.02340, eq. 5).

    `bn` says which statistics BatchNorm uses: `running`, or those of the `batch`; `loss` is `cross-entropy` or
    `nll-logits`, the mean of minus the target's logit that the authors' code takes. Dropout is off. The model is left
    as it was: parameters, buffers, gradients and mode.
    """
    if bn not in ("running", "batch"):
        raise unknown("BatchNorm mode", bn, ("running", "batch"))
    network = shadow(model, _own)
    weights = prunable(network)
    sums = [torch.zeros_like(weight, dtype=torch.float32) for weight in weights.values()]
    total = torch.zeros((), device=sums[0].device)
    with evaluating(network, batch_norm_trains=bn == "batch"):
        for inputs, labels in islice(data, batches):
            value = _loss(loss, network(inputs), labels)
            torch._foreach_add_(sums, torch.autograd.grad(value, list(weights.values())))
            total += value.detach()
    total = total.where(total != 0, 1)  # a loss of exactly 0 ranks as any other: it is one factor for all
    scores = [(s * w.detach() / total).abs() for s, w in zip(sums, weights.values(), strict=True)]
    return Scores(dict(zip(weights, scores, strict=True)))


def _own(tensor: Tensor) -> Tensor:
    """The same values: a parameter with a gradient of its own, or a copy of a buffer, which BatchNorm may change."""
    return tensor.detach().requires_grad_() if isinstance(tensor, nn.Parameter) else tensor.clone()


def _loss(name: str, logits: Tensor, labels: Tensor) -> Tensor:
    if name not in LOSSES:
        raise unknown("scoring loss", name, LOSSES)
    return LOSSES[name](logits, labels)


snip = Criterion(elasticity, schedule="one-shot", scope="global", source="Lee et al. 2019, arXiv:1810.02340, eq. 5")
snipit = Criterion(elasticity, schedule="snipit", scope="global", source="Verdenius et al. 2020, arXiv:2006.00896")
