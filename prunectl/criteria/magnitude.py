"""Magnitude: keep the largest weights (Han et al. 2015), and schemes based on it."""

from dataclasses import replace

from prunectl.criteria.base.absolute import absolute
from prunectl.criteria.base.criterion import Criterion
from prunectl.criteria.base.permutation import permute_channels_

magnitude = Criterion(
    absolute,
    schedule="one-shot",
    scope="global",
    source="Han et al. 2015, arXiv:1506.02626",
    when="after",
    needs_data=False,
)
lamp = replace(magnitude, scope="lamp", source="Lee et al. 2021, arXiv:2010.07611")
n_m = replace(magnitude, scope="2:4", source="Mishra et al. 2021, arXiv:2104.08378", prepare=permute_channels_)
gmp = replace(
    magnitude,
    schedule="cubic",
    scope="layer",
    source="Zhu & Gupta 2017, arXiv:1710.01878, eq. 1",
    when="during",
    steps=10,
)
imp = replace(
    magnitude,
    schedule="exponential",
    source="Frankle et al. 2020, arXiv:1912.05671, algorithm 2",
    when="during",
    needs_training=True,
    rewinds=True,
)
