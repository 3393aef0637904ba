"""GraNet: gradual magnitude pruning in which every round lets weights grow where others are small (Liu et al. 2021)."""

from functools import partial

from prunectl.criteria.base.absolute import absolute
from prunectl.criteria.base.criterion import Criterion, Exploration
from prunectl.criteria.base.growth import by_gradient


def from_dense(*, until: float = 1.0) -> Exploration:
    """Begin with all weights (s_i = 0 in the paper).

    As in the authors' code, a round prunes all layers together by |θ|, then drops a share of every layer and regrows as
    many weights by gradient. The share falls over the training; drop-and-grow rounds continue after the last pruning.
    """
    return Exploration(start="", until=until)


granet = Criterion(
    absolute,
    schedule="cubic-hold",
    scope="global",
    source="Liu et al. 2021, arXiv:2106.10404",
    when="during",
    needs_training=True,
    delay=0,
    every=1,
    exploration=from_dense,
    regrowth=partial(by_gradient, fraction=0.5),
)
