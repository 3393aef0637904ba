"""foolbox's projected gradient descent, with a step size that crosses the ball: 2.5 eps over the number of steps.

Madry et al. 2018 (arXiv:1706.06083). Foolbox's own default, a thirtieth of eps in 40 steps, often ends before it
converges.
"""

from foolbox.attacks.projected_gradient_descent import (
    L2ProjectedGradientDescentAttack,
    LinfProjectedGradientDescentAttack,
)
from foolbox.attacks.sparse_l1_descent_attack import SparseL1DescentAttack

_CROSSING = 2.5


def pgd(
    *, steps: int = 40, rel_stepsize: float | None = None, random_start: bool = True
) -> LinfProjectedGradientDescentAttack:
    """PGD in the max norm; `rel_stepsize` is in units of eps."""
    size = _CROSSING / max(steps, 1) if rel_stepsize is None else rel_stepsize
    return LinfProjectedGradientDescentAttack(steps=steps, rel_stepsize=size, random_start=random_start)


def l2_pgd(
    *, steps: int = 40, rel_stepsize: float | None = None, random_start: bool = True
) -> L2ProjectedGradientDescentAttack:
    """PGD in the L2 norm; `rel_stepsize` is in units of eps."""
    size = _CROSSING / max(steps, 1) if rel_stepsize is None else rel_stepsize
    return L2ProjectedGradientDescentAttack(steps=steps, rel_stepsize=size, random_start=random_start)


def l1_pgd(
    *, steps: int = 40, rel_stepsize: float | None = None, random_start: bool = True, quantile: float = 0.99
) -> SparseL1DescentAttack:
    """PGD in the L1 norm, on the largest entries of the gradient (Tramer & Boneh 2019, arXiv:1904.13000)."""
    size = _CROSSING / max(steps, 1) if rel_stepsize is None else rel_stepsize
    return SparseL1DescentAttack(steps=steps, rel_stepsize=size, random_start=random_start, quantile=quantile)
