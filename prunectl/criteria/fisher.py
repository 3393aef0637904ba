"""Group Fisher pruning: the squared effect of coupled channels, image by image (Liu et al. 2021)."""

from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.criteria.base.passes import first_images
from prunectl.criteria.base.sensitivity import LossSampling
from prunectl.criteria.base.squared_effects import mean_squared_effect
from prunectl.scores import Scores
from prunectl.structure.nodes import Structure


def fisher_information(
    model: nn.Module, data: Batches, structure: Structure, *, images: int = 128, loss: str = "cross-entropy"
) -> Scores:
    """1 / 2N Σ (dL_n/dc)² over N images of a gate c = 1 at all weights that read a node.

    The rise of the loss without the node, to second order, with the Fisher information instead of the Hessian. Coupled
    channels share one gate, so their gradients add up before they are squared. Source: Liu et al. 2021
    (arXiv:2108.00708), section 3.2, without the division by memory.
    """
    single = first_images(data, images, 1)
    return Scores(nodes=mean_squared_effect(model, single, structure, LossSampling(images, loss=loss)) / 2)


fisher = Criterion(
    fisher_information,
    schedule="one-shot",
    scope="global",
    source="Liu et al. 2021, arXiv:2108.00708, section 3.2",
    unit="nodes",
    when="after",
    normalize_budget="max",
)
