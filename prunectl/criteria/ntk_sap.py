"""NTK-SAP: preserve the spectrum of the neural tangent kernel, for any weights and images (Wang et al. 2023)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.kept import kept_entries
from prunectl.errors import OptionError
from prunectl.masks import prunable
from prunectl.scores import Scores
from prunectl.torchtools.contexts import evaluating, full_precision
from prunectl.torchtools.copies import differentiable


def tangent_spectrum(
    model: nn.Module, data: Batches, *, images: int = 128, draws: int = 1, epsilon: float = 0.01
) -> Scores:
    """|d/dm Σ ‖f(X, θ m) - f(X, (θ + Δ) m)‖²| of the mask m of every prunable weight, at the current mask.

    In each of `draws`, X ~ N(0, I) are `images` inputs, θ new weights (Kaiming, normal) and Δ ~ N(0, ε² I).
    BatchNorm normalises by X with the weights θ. Parameters other than prunable weights do not change. The sum is
    ε² times an estimate of the kernel's trace, the sum of its eigenvalues. Source: Wang, Li & Sun 2023
    (arXiv:2304.02840), eq. 9 and algorithm 1, with 100 exponential rounds; images and ε are those of the authors' code
    for ten classes.

    Raises:
        OptionError: fewer than 1 image or draw, or an epsilon that is not above 0.
    """
    if images < 1 or draws < 1 or not epsilon > 0:
        raise OptionError(
            f"images and draws must be 1 or more and epsilon above 0, got {images}, {draws} and {epsilon}"
        )
    network, like = differentiable(model), next(data)[0]
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0  # one pass sets the statistics
    weights = prunable(network)
    masks = {name: kept_entries(weight).float().requires_grad_() for name, weight in weights.items()}
    total = [torch.zeros_like(mask) for mask in masks.values()]
    with full_precision(), torch.autocast(like.device.type, enabled=False):
        for _ in range(draws):
            inputs = torch.randn(images, *like.shape[1:]).to(like)
            values = {name: nn.init.kaiming_normal_(torch.empty(w.shape)).to(w.device) for name, w in weights.items()}
            moved = {name: v + epsilon * torch.randn(v.shape).to(v.device) for name, v in values.items()}
            change = _change(network, masks, values, moved, inputs)
            found = torch.autograd.grad(change, list(masks.values()), allow_unused=True, materialize_grads=True)
            torch._foreach_add_(total, list(found))
    return Scores({name: score.abs() for name, score in zip(masks, total, strict=True)})


def _change(
    network: nn.Module,
    masks: Mapping[str, Tensor],
    values: Mapping[str, Tensor],
    moved: Mapping[str, Tensor],
    inputs: Tensor,
) -> Tensor:
    """The squared distance between the outputs of two sets of weights under the same masks, over all inputs."""

    def outputs(weights: Mapping[str, Tensor]) -> Tensor:
        masked = {name: (masks[name] * weight).to(inputs.dtype) for name, weight in weights.items()}
        made: Tensor = torch.func.functional_call(network, masked, (inputs,))
        return made.float()

    with torch.no_grad(), evaluating(network, batch_norm_trains=True):
        outputs(values)
    with evaluating(network):
        return (outputs(values) - outputs(moved)).square().sum()


ntk_sap = Criterion(
    tangent_spectrum,
    schedule="exponential",
    scope="global",
    source="Wang et al. 2023, arXiv:2304.02840, algorithm 1",
    needs_data=False,
    steps=100,
)
