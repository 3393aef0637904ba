"""Schedules of sparsities up to a target: (target, steps) -> one sparsity per round, increasing."""

import math

DEFAULT_STEPS = 5
_START = 0.5


def one_shot(target: float, steps: int = DEFAULT_STEPS) -> tuple[float, ...]:
    """Prune to the target in one round."""
    return (target,)


def snipit(target: float, steps: int = DEFAULT_STEPS) -> tuple[float, ...]:
    """k_i = κ - (κ - k_0) 0.5^i for i = 0..s, then κ, with k_0 = 0.5 (Verdenius et al. 2020, algorithm 1).

    Below κ = 0.5 it starts at k_0 = 0, so that no round prunes past the target (the authors' list would). A round that
    would change nothing is left out.
    """
    start = _START if target >= _START else 0.0
    return _rising([target - (target - start) * 0.5**i for i in range(steps + 1)], target)


def exponential(target: float, steps: int = DEFAULT_STEPS) -> tuple[float, ...]:
    """Every round prunes the same share of the rest: 1 - (1 - κ)^(i/n) for i = 1..n.

    Source: Tanaka et al. 2020, arXiv:2006.05467, algorithm 1; de Jorge et al. 2021, arXiv:2006.09081.
    """
    return _rising([-math.expm1(math.log1p(-target) * i / steps) for i in range(1, steps)], target)


def cubic(target: float, steps: int = DEFAULT_STEPS) -> tuple[float, ...]:
    """κ (1 - (1 - i/n)^3) for i = 1..n: fast at first, slower near the target.

    Source: Zhu & Gupta 2017, arXiv:1710.01878, eq. 1, from a sparsity of 0.
    """
    return _rising([target * (1 - (1 - i / steps) ** 3) for i in range(1, steps)], target)


def cubic_hold(target: float, steps: int = DEFAULT_STEPS) -> tuple[float, ...]:
    """`cubic` in the first half of the rounds, then the target: for criteria that let weights grow to the end.

    Source: Liu et al. 2021, arXiv:2106.10404, with half of the rounds as the time of pruning.
    """
    rising = cubic(target, max((steps + 1) // 2, 1))
    return (*rising, *(target,) * (max(steps, 1) - len(rising)))


def constant(target: float, steps: int = DEFAULT_STEPS) -> tuple[float, ...]:
    """The target in every round: for criteria that drop and grow at one sparsity."""
    return (target,) * max(steps, 1)


def alternating(target: float, steps: int = DEFAULT_STEPS) -> tuple[float, ...]:
    """Alternates between 0 and the target, the target last: for criteria that restore all weights in between."""
    rounds = max(steps, 1)
    return tuple(target if (rounds - i) % 2 else 0.0 for i in range(rounds))


def _rising(rounds: list[float], target: float) -> tuple[float, ...]:
    """The rounds up to the target, and the target, without those that would change nothing."""
    kept = [k for k, before in zip(rounds, [0.0, *rounds], strict=False) if before < k < target]
    return (*kept, target)
