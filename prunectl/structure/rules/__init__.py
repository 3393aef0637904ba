"""One short file of rules per family of operations; importing this fills the table."""

from prunectl.structure.rules import attention, conv, join, linear, move, norm, pointwise, pool, recurrent, reduce

__all__ = ["attention", "conv", "join", "linear", "move", "norm", "pointwise", "pool", "recurrent", "reduce"]
