"""DepGraph: the norm of all parameters that are removed with a node (Fang et al. 2023)."""

from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.scores import Scores
from prunectl.structure.gates import at_members
from prunectl.structure.nodes import Structure


def group_norm(model: nn.Module, data: Batches, structure: Structure) -> Scores:
    """Σ ‖θ[k]‖₂² over all parameters of node k's group: the weights that output it, its norms and biases, its readers.

    Source: Fang et al. 2023 (arXiv:2301.12900), section 3.3, where each group is normalised by its mean.
    """
    squares = {name: parameter.detach().square() for name, parameter in model.named_parameters()}
    return Scores(nodes=at_members(structure, model, squares))


depgraph = Criterion(
    group_norm,
    schedule="one-shot",
    scope="global",
    source="Fang et al. 2023, arXiv:2301.12900, section 3.3",
    unit="nodes",
    when="after",
    normalize="mean",
    needs_data=False,
)
