"""Sparsities to pass on the way to a target: (target, steps) -> one sparsity per round, increasing."""

from prunectl.errors import OptionError

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
    rounds = [target - (target - start) * 0.5**i for i in range(steps + 1)] + [target]
    return tuple(k for k, before in zip(rounds, [0.0, *rounds], strict=False) if k > before)


def check_sparsity(sparsity: float) -> None:
    """Refuse what is no sparsity to prune to.

    Raises:
        OptionError: not in (0, 1).
    """
    if not 0 < sparsity < 1:
        raise OptionError(f"a sparsity to prune to lies between 0 and 1 (0.9 = 90 % pruned), got {sparsity}")
