"""GraSP: keep the weights that the gradient flow needs (Wang et al. 2020)."""

from collections.abc import Collection, Iterator
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.kept import kept_entries
from prunectl.criteria.base.sensitivity import LossSampling
from prunectl.errors import OptionError
from prunectl.masks import prunable
from prunectl.scores import Scores
from prunectl.structure.gates import at_gates, gated
from prunectl.structure.nodes import Structure
from prunectl.torchtools import distributed
from prunectl.torchtools.contexts import evaluating, full_precision
from prunectl.torchtools.copies import differentiable

SOURCE = "Wang et al. 2020, arXiv:2002.07376, eq. 8"
T = 200.0


def gradient_flow(
    model: nn.Module,
    data: Batches,
    *,
    batches: int = 5,
    bn: str = "running",
    temperature: float = T,
    chunk: int = 0,
) -> Scores:
    """θ · Hg of every prunable weight θ; the highest stay: removing the lowest raises |g|² most, or lowers it least.

    g is the gradient of the cross-entropy of logits / T by the kept weights, H its Hessian. Source: Wang,
    Zhang & Grosse 2020 (arXiv:2002.07376), eq. 8 and algorithm 2, which removes the highest -θ · Hg of one batch: the
    sign is the opposite, the removed weights are the same. The scores of several batches are added up. The authors of
    SNIP-it keep what algorithm 2 removes.
    """
    return Scores(_removals(model, data, prunable(model), LossSampling(batches, bn, chunk=chunk), temperature))


def node_gradient_flow(
    model: nn.Module,
    data: Batches,
    structure: Structure,
    *,
    batches: int = 5,
    bn: str = "running",
    temperature: float = T,
    chunk: int = 0,
) -> Scores:
    """θ · Hg summed over the weights that read a node, which are removed with it.

    Options as `gradient_flow`.

    This is half the derivative of |g|² by a common factor of those weights.
    """
    names = {*prunable(model), *gated(structure, model)}
    values = _removals(model, data, names, LossSampling(batches, bn, chunk=chunk), temperature)
    return Scores(nodes=at_gates(structure, model, values))


def _removals(
    model: nn.Module, data: Batches, names: Collection[str], draw: LossSampling, temperature: float
) -> dict[str, Tensor]:
    """θ · Hg of the named parameters, with g by all of them, added up over the batches of a draw; float32."""
    if not temperature > 0:
        raise OptionError(f"the temperature must be above 0, got {temperature}")
    network = differentiable(model)
    parameters = {name: p for name, p in network.named_parameters() if name in names}
    wanted: list[Tensor] = list(parameters.values())
    total = [torch.zeros_like(p, dtype=torch.float32) for p in wanted]
    with (
        evaluating(network, batch_norm_trains=draw.bn == "batch"),
        full_precision(),
        sdpa_kernel(SDPBackend.MATH),
    ):  # other kernels have no Hessian
        for inputs, labels in islice(data, draw.batches if wanted else 0):
            for found in _products(network, wanted, list(draw.parts(inputs, labels)), draw, temperature):
                torch._foreach_add_(total, [tensor.detach() for tensor in found])
    distributed.sum_(total)
    return {name: h * p.detach() for h, (name, p) in zip(total, parameters.items(), strict=True)}


def _products(
    network: nn.Module,
    wanted: list[Tensor],
    parts: list[tuple[Tensor, Tensor, float]],
    draw: LossSampling,
    temperature: float,
) -> Iterator[tuple[Tensor, ...]]:
    """Yield the parts of Hg of one batch. A single part takes only one pass, whose graph is kept for the Hessian."""

    def gradient(part: tuple[Tensor, Tensor, float], keep: bool) -> tuple[Tensor, ...]:
        images, labels, share = part
        value = nn.functional.cross_entropy(network(images) / temperature, labels) * share
        return torch.autograd.grad(value, wanted, create_graph=keep, allow_unused=True, materialize_grads=True)

    whole = len(parts) == 1 and not distributed.joined()
    graph = gradient(parts[0], keep=True) if whole else ()
    g = [tensor.detach().clone() for tensor in graph] or [torch.zeros_like(p) for p in wanted]
    for part in () if whole else parts:
        torch._foreach_add_(g, gradient(part, keep=False))
    distributed.sum_(g)
    torch._foreach_mul_(g, [kept_entries(parameter) for parameter in wanted])
    for part in parts:
        pairs = zip(graph or gradient(part, keep=True), g, strict=True)
        product = torch.stack([(a * b).sum() for a, b in pairs]).sum()
        yield torch.autograd.grad(product, wanted, allow_unused=True, materialize_grads=True)


grasp = Criterion(gradient_flow, schedule="one-shot", scope="global", source=SOURCE)
iterative_grasp = Criterion(
    gradient_flow, schedule="snipit", scope="global", source=f"{SOURCE}, in rounds as arXiv:2006.00896"
)
structured_grasp = Criterion(
    node_gradient_flow,
    schedule="one-shot",
    scope="global",
    source=f"{SOURCE}, summed over nodes",
    unit="nodes",
    normalize_budget="max",
)
