"""OBSPA: nodes whose removal the next layers can best compensate (Wang et al. 2024)."""

from functools import partial

import torch
from torch import Tensor, nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.surgeon import Layer, layers, update
from prunectl.masks import prunable
from prunectl.scores import Scores
from prunectl.structure.gates import above_where
from prunectl.structure.nodes import FROZEN, Structure


def surgeons_loss(
    model: nn.Module, data: Batches, structure: Structure, *, images: int = 256, damp: float = 0.01
) -> Scores:
    """Σ w_P ([H⁻¹]_PP)⁻¹ w_Pᵀ over the rows of all layers that read a node, P its columns: (nodes,).

    This is the least rise of the squared error of a layer's outputs if only this node is removed and the kept weights
    compensate. They get their best values once the nodes of the round are selected. H = X Xᵀ of the layer's inputs.
    Nodes that no weight reads are pruned last.

    Source: Wang, Rachwan, Günnemann & Charpentier 2024 (arXiv:2403.18955) sum a layer-wise Optimal Brain Surgeon over
    coupled channels and update the weights. Only their abstract was available, so the loss of a block of weights and
    the update are those of Frantar & Alistarh 2022 (arXiv:2208.11580), section 4, for whole columns.
    """
    found = layers(model, data, images, damp)
    losses = torch.zeros(structure.nodes + 1, dtype=torch.float64)  # the last entry stands for FROZEN
    read = torch.zeros(structure.nodes + 1, dtype=torch.bool)
    shapes = {name: weight.shape for name, weight in prunable(model).items()}
    for name, axis in sorted(structure.consumers & structure.axes.keys()):
        if name in found:
            classes = _columns(structure.axes[name, axis], axis, shapes[name], found[name])
            losses += _block_losses(found[name], classes, structure.nodes)
            read[structure.axes[name, axis]] = True
    scores = above_where(~read[:FROZEN], losses[:FROZEN].float())
    return Scores(nodes=scores.nodes, unscored=scores.unscored, update=partial(update, found, shapes=shapes))


def _columns(classes: Tensor, axis: int, shape: torch.Size, layer: Layer) -> Tensor:
    """The class of every column of a layer's matrix, (G, K)."""
    along = [1] * len(shape)
    along[axis] = -1
    spread: Tensor = layer.unfolding.matrix(classes.view(along).expand(shape))[:, 0]
    return spread


def _block_losses(layer: Layer, classes: Tensor, nodes: int) -> Tensor:
    """w_P ([H⁻¹]_PP)⁻¹ w_Pᵀ, summed over rows and groups, for the columns P of every class: (nodes + 1,)."""
    losses = torch.zeros(nodes + 1, dtype=torch.float64)
    for matrix, inverse, own in zip(layer.matrix, torch.linalg.inv(layer.hessian), classes, strict=True):
        for node in torch.unique(own[own != FROZEN]).tolist():
            columns = torch.nonzero(own == node).flatten().to(matrix.device)
            block, weights = inverse[columns[:, None], columns], matrix[:, columns]
            losses[node] += float((torch.linalg.solve(block, weights.T) * weights.T).sum())
    return losses


obspa = Criterion(
    surgeons_loss,
    schedule="exponential",
    scope="global",
    source="Wang et al. 2024, arXiv:2403.18955",
    unit="nodes",
    when="after",
    normalize="l2",
    normalize_budget="max",
)
