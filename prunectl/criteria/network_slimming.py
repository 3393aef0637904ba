"""Network slimming: prunes channels with small BatchNorm scales (Liu et al. 2017)."""

from torch import nn

from prunectl.criteria.base.criterion import Batches, Criterion
from prunectl.errors import OptionError
from prunectl.scores import Scores
from prunectl.structure.batch_norms import at_scales, batch_norm_scales
from prunectl.structure.gates import above_where
from prunectl.structure.nodes import Structure


def scales(model: nn.Module, data: Batches, structure: Structure) -> Scores:
    """|γ| of the BatchNorm of every node, averaged if several norms follow coupled channels.

    Nodes without BatchNorm are pruned last, because the method does not prune them. Train with `--reg bn-l1` first.
    Source: Liu et al. 2017 (arXiv:1708.06519), section 3.

    Raises:
        OptionError: the network has no BatchNorm.
    """
    found = {name: scale.abs() for name, scale in batch_norm_scales(model).items()}
    total, count = at_scales(structure, found)
    if not count.any():
        raise OptionError("network slimming ranks by the scales of BatchNorm, but this network has none; use taylor")
    return above_where(count == 0, total / count.clamp_min(1))


network_slimming = Criterion(
    scales,
    schedule="one-shot",
    scope="global",
    source="Liu et al. 2017, arXiv:1708.06519",
    unit="nodes",
    normalize="max",
    normalize_budget="mean",
    when="after",
    needs_data=False,
)
